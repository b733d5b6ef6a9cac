"""Searches whose candidates train as one program, and ensembles of what they find."""

from sktorch.fused.pruning_rules import HalvingRule, MedianRule
from sktorch.model_selection._ensemble import (
    FoldEnsembleClassifier,
    FoldEnsembleRegressor,
    ensemble_of,
)
from sktorch.model_selection._halving import HalvingSearchCV
from sktorch.model_selection._learning_rate_curves import LearningRateSweep
from sktorch.model_selection._learning_rates import learning_rate_sweep

__all__ = [
    "FoldEnsembleClassifier",
    "FoldEnsembleRegressor",
    "HalvingRule",
    "HalvingSearchCV",
    "LearningRateSweep",
    "MedianRule",
    "ensemble_of",
    "learning_rate_sweep",
]
