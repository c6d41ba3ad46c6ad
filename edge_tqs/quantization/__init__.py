"""A float Graph and a Plan become an integer Graph: calibration, codes, the integer reference rollout, and what each
TFLite runtime makes of the file. Comes in: Graph, Plan, windows. Goes out: an integer Graph and its Steps.
"""
