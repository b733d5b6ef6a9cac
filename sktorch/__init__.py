"""PyTorch inside scikit-learn: any ``torch.nn.Module`` as an estimator."""

from sktorch._classifier import TorchClassifier

__all__ = ["TorchClassifier"]
__version__ = "0.1.0.dev0"
