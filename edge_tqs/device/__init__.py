"""The wire: frames, messages, the serial port, a device that rolls out over it, and the trace of what it answered.
Comes in: a port. Goes out: measured rollouts.
"""
