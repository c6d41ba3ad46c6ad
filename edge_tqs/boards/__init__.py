"""Boards and what is made for them: board files, firmware, bundles, stack bounds, flash tools (flash/), emulators
(emulator/). Comes in: C sources and a board file. Goes out: images on a board, and a port to it.
"""
