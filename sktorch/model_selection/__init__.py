"""Searches whose candidates train as one program, and ensembles of what they find."""

from sktorch.model_selection._ensemble import (
    FoldEnsembleClassifier,
    FoldEnsembleRegressor,
    ensemble_of,
)
from sktorch.model_selection._halving import HalvingSearchCV

__all__ = ["FoldEnsembleClassifier", "FoldEnsembleRegressor", "HalvingSearchCV", "ensemble_of"]
