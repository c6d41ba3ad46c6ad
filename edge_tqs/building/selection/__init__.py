"""The widths and codes that a model is built with: the most accurate that fits its board, unless told else.
Comes in: a Prepared model, a PlanRequest and a board. Goes out: a Selection, with what was measured around it.
"""
