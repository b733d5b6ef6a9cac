"""Ready-made modules. This folder imports torch and nothing of scikit-learn or skorch."""

from sktorch.modules._mlp import MLP

__all__ = ["MLP"]
