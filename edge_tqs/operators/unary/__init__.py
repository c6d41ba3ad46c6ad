"""Operators of one value: each code of the output comes from the one code of the input at its place."""
