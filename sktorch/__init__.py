"""PyTorch inside scikit-learn: any ``torch.nn.Module`` as an estimator."""

from sktorch._classifier import TorchClassifier
from sktorch._regressor import TorchRegressor
from sktorch._saving import load, save
from sktorch._skops import support_skops
from sktorch.fused.backend import register

register()
support_skops()

__all__ = ["TorchClassifier", "TorchRegressor", "load", "save"]
__version__ = "0.1.0.dev0"
