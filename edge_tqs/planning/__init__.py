"""TQS and TQS-PTQ: scores of weight tensors, the exact knapsack over widths, and its refinement by measured rollouts.
Comes in: a System and the bytes of each choice. Goes out: Sensitivity and Plan.
"""
