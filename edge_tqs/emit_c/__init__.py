"""Static C99 of an integer Graph: the choice and packing of kernels, the arena, tables and calls. Comes in: an integer
Graph and a core. Goes out: model.c, model.h and the kernels that they call.
"""
