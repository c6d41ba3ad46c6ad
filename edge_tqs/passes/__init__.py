"""Graph to Graph, and a Graph as a function: interpretation in numpy, pruned windows, streaming, targets, a shifted
output bias. Comes in: a float Graph. Goes out: a float Graph, or a StepFunction that rolls it out.
"""
