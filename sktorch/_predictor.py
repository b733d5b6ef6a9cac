"""A trained net and what its estimator predicts of its outputs, as one plain module."""

from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sktorch._net import Net
from sktorch._state import deepcopied
from sktorch.data.source import n_inputs
from sktorch.data.structure import call_module, floating_dtype


class Predictor(nn.Module):
    """A network, and a module that makes predictions of its outputs."""

    def __init__(self, network: nn.Module, decoding: nn.Module) -> None:
        super().__init__()
        self.network, self.decoding = network, decoding

    def forward(self, X: Any) -> Any:
        """Return predictions for a batch."""
        return self.decoding(call_module(self.network, X))


class PredictorOfSeveral(Predictor):
    """A predictor whose network takes several inputs, in their order or by their names."""

    def forward(self, *X: Any, **named: Any) -> Any:
        """Return predictions for a batch."""
        return self.decoding(call_module(self.network, named or X))


def predictor(estimator: BaseEstimator) -> Predictor:
    """Return a copy of an estimator's module, with all that it predicts, in eval mode."""
    check_is_fitted(estimator)
    network, decoding = deepcopied(_network_and_decoding(estimator.net_))
    shape = estimator.input_shape_
    several = isinstance(shape, dict) or n_inputs(shape) > 1 or (None in shape)
    return (PredictorOfSeveral if several else Predictor)(network, decoding).eval()


def _network_and_decoding(net: Net) -> tuple[nn.Module, nn.Module]:
    dtype = floating_dtype(net.example_output_)
    decoding = net.codec_.decoding(net.criterion_, dtype)
    return net.module_, decoding.to(net.device)
