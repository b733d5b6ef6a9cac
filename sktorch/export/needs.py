"""Packages of the extra "export", imported where they are used."""

from importlib import import_module
from types import ModuleType


def imported(name: str) -> ModuleType:
    """Return a module of a package of the extra "export"; raise if the package is missing."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ImportError(
            f"Export to ONNX needs {package}, which can't be imported: {error}. "
            "Install it: pip install 'sktorch[export]'."
        ) from error
