"""What a model is: the one Graph for float and integer models, the shapes of its tensors, its file, and what a closed
loop of it means (rollout). Comes in: nothing. Goes out: frozen types that every other package reads.
"""
