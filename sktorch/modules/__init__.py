"""Ready-made modules. This folder imports torch and nothing of scikit-learn or skorch."""

from sktorch.modules._convolutional import ConvNet
from sktorch.modules._ensemble import Ensemble
from sktorch.modules._fourier import FourierFeatures
from sktorch.modules._initialization import initialize
from sktorch.modules._mlp import MLP, StandardizedMLP
from sktorch.modules._periodic import PeriodicEmbedding
from sktorch.modules._piecewise_linear import PiecewiseLinearEmbedding, quantile_bins
from sktorch.modules._ranks import Ranks, rank_knots
from sktorch.modules._recurrent import RecurrentNet
from sktorch.modules._scale import ScaleLayer
from sktorch.modules._standardize import Standardize
from sktorch.modules._tabular import TabularMLP

__all__ = [
    "MLP",
    "ConvNet",
    "Ensemble",
    "FourierFeatures",
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
    "Ranks",
    "RecurrentNet",
    "ScaleLayer",
    "Standardize",
    "StandardizedMLP",
    "TabularMLP",
    "initialize",
    "quantile_bins",
    "rank_knots",
]
