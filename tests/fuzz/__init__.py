"""Hostile input for what reads the wire and files: seeded, so that the same seed gives the same inputs."""
