"""THE integer arithmetic: multipliers, rounding, tables and packing of int8 and int16 activations, bit for bit as
tflite-micro. Comes in and goes out: numpy arrays of codes.
"""
