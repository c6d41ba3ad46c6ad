"""The .tflite file as tables, and an integer Graph written to it and read back. Comes in: a Graph, or bytes. Goes out:
bytes, or a Graph.
"""
