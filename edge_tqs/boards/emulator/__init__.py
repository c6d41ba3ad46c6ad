"""Boards without hardware: QEMU, rp2040js, labwired or a host process behind a pseudo-terminal. Comes in: a board and
its image. Goes out: a serial port, as a context manager.
"""
