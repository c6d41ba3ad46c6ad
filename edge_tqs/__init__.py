"""edge-tqs: quantise sensor forecasters by how their closed-loop rollouts react, and prove the result on the board."""

import os

# Rollouts are long loops of small products, which OpenBLAS slows down tenfold by handing each to its threads. It reads
# this once, when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from edge_tqs.errors import CheckError, DeviceError, ModelError, ToolError, TqsError, UsageError

__version__ = "0.1.0"
__all__ = ["CheckError", "DeviceError", "ModelError", "ToolError", "TqsError", "UsageError", "__version__"]
