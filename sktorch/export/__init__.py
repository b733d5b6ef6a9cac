"""Fitted estimators for other runtimes: ONNX files, and converters for sklearn-onnx.

Importing this room imports neither onnx nor skl2onnx: they are imported where they are used.
"""

from sktorch.export.files import onnx
from sktorch.export.sklearn_onnx import register_converters

__all__ = ["onnx", "register_converters"]
