"""edge-tqs: quantise sensor forecasters by how their closed-loop rollouts react, and prove the result on the board."""

from edge_tqs.errors import CheckError, DeviceError, ModelError, ToolError, TqsError, UsageError

__version__ = "0.1.0"
__all__ = ["CheckError", "DeviceError", "ModelError", "ToolError", "TqsError", "UsageError", "__version__"]
