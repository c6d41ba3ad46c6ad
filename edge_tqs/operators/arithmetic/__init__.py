"""THE integer arithmetic: multipliers, rounding, tables and packing of int8 and int16 activations, bit for bit as
tflite-micro; and the float functions of one value that tables and curves are made of. Comes in and goes out: numpy
arrays.
"""
