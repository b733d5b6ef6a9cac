"""The ensembles and the pipelines in them, by the names that they have in saved files."""

from typing import Any

from sklearn.pipeline import Pipeline

from sktorch.model_selection._ensemble import FoldEnsembleClassifier, FoldEnsembleRegressor

SAVED_TYPES: dict[str, Any] = {
    "sklearn.pipeline.Pipeline": Pipeline,
    "sktorch.model_selection.FoldEnsembleClassifier": FoldEnsembleClassifier,
    "sktorch.model_selection.FoldEnsembleRegressor": FoldEnsembleRegressor,
}
