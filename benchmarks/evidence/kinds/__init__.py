"""The same question of models of other kinds than closed loops: `python -m benchmarks.evidence --kinds`."""
