"""Milliseconds of an evaluation, modelled: instructions counted in an emulator under a core's published timings.
Comes in: a compiled firmware. Goes out: a Modelled, or None for a core or board of which no timing is known.
"""
