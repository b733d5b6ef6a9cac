"""What the estimators for raw tables are made of, by the names that it has in saved files."""

from typing import Any

from sktorch.tabular._classifier import TabularClassifier
from sktorch.tabular._net import Member, TabularNet
from sktorch.tabular._regressor import TabularRegressor
from sktorch.tabular._tasks import Regression

SAVED_TYPES: dict[str, Any] = {
    "sktorch.TabularClassifier": TabularClassifier,
    "sktorch.TabularRegressor": TabularRegressor,
    "sktorch.tabular.Member": Member,
    "sktorch.tabular.Regression": Regression,
    "sktorch.tabular.TabularNet": TabularNet,
}
