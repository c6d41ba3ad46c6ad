"""Builds of Linux boards carried to the machines that forecast: over ssh, as releases that can be gone back from. Comes
in: build directory, address. Goes out: a host that runs it, or runs what it ran before.
"""
