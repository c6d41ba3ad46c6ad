"""The pipeline from a model file to a folder that holds flatbuffer, C, firmware and report. Comes in: a request. Goes
out: a build directory. `opened`, `scored`, `planned`, `quantized` and `build` are its steps, in this order.
"""
