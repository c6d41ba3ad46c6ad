"""Model files of others: Keras 3 and 2 (keras/), any float .tflite (tflite/). Comes in: a path. Goes out: a float
Graph that was compared with its model, or a black-box System where no Graph can be made.
"""
