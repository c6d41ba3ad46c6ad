"""Keras models as Graphs and Systems. Comes in: a file of Keras 3 or 2. Goes out: a Graph equal to the model, or a
System.
"""
