"""PyTorch inside scikit-learn: any ``torch.nn.Module`` as an estimator."""

from sktorch import export
from sktorch._classifier import TorchClassifier
from sktorch._regressor import TorchRegressor
from sktorch._saved_types import KNOWN as _KNOWN
from sktorch._saving import load, save
from sktorch._skops import support_skops as _support_skops
from sktorch._versions import show_versions
from sktorch.model_selection._saved_types import SAVED_TYPES as _SAVED_TYPES
from sktorch.tabular import TabularClassifier, TabularRegressor
from sktorch.workers.backend import register as _register

_KNOWN.update(_SAVED_TYPES)  # of a room that the estimators do not import
_register()
_support_skops()

__all__ = [
    "TabularClassifier",
    "TabularRegressor",
    "TorchClassifier",
    "TorchRegressor",
    "export",
    "load",
    "save",
    "show_versions",
]
__version__ = "0.1.0"
