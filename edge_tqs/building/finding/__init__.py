"""What data tell of a model of which something was not said, or otherwise than they say.

Comes in: a system and a project's series. Goes out: its scaling (`scaling`), or what its values are (`reading`), with
the figures; else a refusal with the lines to write. `otherwise` has what else it is than was said.
"""
