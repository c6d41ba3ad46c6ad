"""A forecaster as a discrete-time dynamical system whose weights can be replaced, and windows to roll it out from.
Comes in: a Graph. Goes out: a System; scoring and planning see nothing else.
"""
