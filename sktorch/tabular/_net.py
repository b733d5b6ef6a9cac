"""The net: waves of the ranks of numbers, which all members share, and their perceptrons."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sktorch.modules import MLP, Ensemble, FourierFeatures, Ranks, ScaleLayer
from sktorch.modules._tabular import EmbeddedColumns

# The most frequencies, and the most waves of all columns together: without, very wide tables would
# become many times as wide.
MAX_FREQUENCIES, MAX_WAVES = 8, 1024
LOWEST = 0.125  # a quarter of a period from the lowest place to the highest
LARGEST = 3.0  # what the cleaner makes of numbers lies within ±3


class Member(EmbeddedColumns):
    """A perceptron of features that it weighs, and of which it misses some in each batch."""

    multiplies_by = ("first",)  # which it does not call: for the measure of its cost

    def __init__(
        self,
        cardinalities: Sequence[int],
        n_outputs: int,
        hidden: Sequence[int],
        feature_dropout: float,
    ) -> None:
        super().__init__(cardinalities)
        self.feature_dropout = feature_dropout
        self.scale = ScaleLayer(self.n_embedded)
        self.first = nn.Linear(self.n_embedded, [*hidden, n_outputs][0])
        behind = [nn.SiLU(), MLP(hidden[0], n_outputs, hidden[1:], "silu")] if hidden else []
        self.behind = nn.Sequential(*behind)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    @property
    def last(self) -> nn.Linear:
        """The layer that gives the outputs."""
        behind: Any = self.behind
        return behind[-1][-1] if len(behind) else self.first

    def forward(self, X: Tensor) -> Tensor:
        """Return outputs (n_rows, n_outputs) of cleaned columns and waves (n_rows, n_columns)."""
        # One mask for all rows of a batch: it costs nothing, and each row's own gained no accuracy.
        factors = F.dropout(self.scale.weight, self.feature_dropout, self.training)
        # The weights are scaled, not the features: these are the same for all members.
        weights = self.first.weight * factors
        return self.behind(F.linear(self.embedded(X), weights, self.first.bias))


def frequencies_for(n_rows: int, n_columns: int) -> int:
    """Return how many frequencies numeric columns get: one more for each doubling of the rows.

    Fine waves of few rows let the members learn these by heart.
    """
    if not n_columns:
        return 0
    rows_per_column = math.log2(max(n_rows / n_columns, 1))
    wanted = min(max(round(rows_per_column - 3.5), 1), MAX_FREQUENCIES)
    return min(wanted, MAX_WAVES // (2 * n_columns))


class TabularNet(nn.Module):
    """The members' outputs of cleaned columns.

    ``cardinalities`` are the cleaner's. ``numeric`` are the positions of columns with more than two
    values, whose ranks have ``knots``.
    """

    numeric: Tensor

    def __init__(
        self,
        cardinalities: Sequence[int],
        numeric: Sequence[int],
        knots: Tensor,
        n_outputs: int,
        n_members: int,
        hidden: Sequence[int],
        feature_dropout: float,
        n_frequencies: int,
    ) -> None:
        super().__init__()
        self.n_members = n_members
        self.waves = None
        if n_frequencies:
            self.ranks, self.waves = Ranks(knots), FourierFeatures(n_frequencies, LOWEST)
        self.register_buffer("numeric", torch.as_tensor(numeric, dtype=torch.long))
        n_waves = 2 * n_frequencies * len(numeric)
        self.members = Ensemble(
            Member,
            n_members,
            cardinalities=(*((0,) * n_waves), *cardinalities),
            n_outputs=n_outputs,
            hidden=hidden,
            feature_dropout=feature_dropout,
        )

    def forward(self, X: Tensor) -> Tensor:
        """Return outputs (n_rows, n_members, n_outputs) of rows (n_rows, n_columns)."""
        return self.members(self._with_waves(X))

    def forward_apart(self, X: Tensor) -> Tensor:
        """Return outputs (n_rows, n_members, n_outputs) of rows (n_members, n_rows, n_columns)."""
        return self.members.forward_apart(self._with_waves(X))

    @torch.no_grad()
    def scale_outputs(self, factors: Tensor) -> None:
        """Multiply each member's outputs by a factor for good."""
        member: Any = self.members.member
        for parameter in member.last.parameters():
            parameter.mul_(factors.view(-1, *[1] * (parameter.ndim - 1)))

    def _with_waves(self, X: Tensor) -> Tensor:
        if self.waves is None:
            return X
        numbers = X.index_select(-1, self.numeric)
        # Ranks tell apart what lies close together, numbers keep what lies far apart.
        places = (self.ranks(numbers) + numbers / LARGEST) / 2
        return torch.cat([self.waves(places), X], dim=-1)
