"""The recipes that people train forecasters from, built for a board, and compared with TFLite's own int8 converter."""
