"""Estimators for raw tables: a cleaner, and an ensemble of nets that trains as one program."""

from sktorch.tabular._classifier import TabularClassifier
from sktorch.tabular._regressor import TabularRegressor

__all__ = ["TabularClassifier", "TabularRegressor"]
