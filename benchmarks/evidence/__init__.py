"""What TQS is worth, measured: `python -m benchmarks.evidence` trains a zoo and writes docs/evidence.md."""
