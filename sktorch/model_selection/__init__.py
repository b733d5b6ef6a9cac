"""Searches whose candidates train as one program."""

from sktorch.model_selection._halving import HalvingSearchCV

__all__ = ["HalvingSearchCV"]
