"""Anybody's float .tflite as a Graph, or as a black box that LiteRT runs. Comes in: a path. Goes out: a Graph or a
System.
"""
