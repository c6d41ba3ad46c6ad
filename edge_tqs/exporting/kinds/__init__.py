"""The kinds of export, one module each."""
