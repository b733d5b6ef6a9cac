"""Pickle objects, and the classes and functions of a script or a notebook by their code."""

from cloudpickle import dumps

__all__ = ["dumps"]
