"""The folder that a build is: written whole or not at all, listed, and read back."""
