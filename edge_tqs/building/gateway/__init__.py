"""What goes with a bundle, for forecastd: facts of the training, and the configuration that it begins with."""
