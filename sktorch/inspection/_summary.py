"""A fitted module, layer by layer: shapes, parameters and cost, as text and HTML."""

import copy
from dataclasses import dataclass
from html import escape
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from sktorch.inspection._histories import trained
from sktorch.training.cost import Work, measure_work

HEADER = ("layer", "output", "parameters", "multiply-adds")
ALIGNMENT = ("left", "left", "right", "right")
MAX_LAYERS = 100  # of a module with more, the rest is counted


@dataclass(frozen=True)
class Layer:
    """A layer of a module.

    Attributes
    ----------
    name : str
        Its name among ``module_.named_modules()``: "" for the module itself.
    kind : str
        The name of its class.
    output_shape : tuple of int or None, or None
        Shape of its output with None for the rows; None where it was not called, or returns
        something else than a tensor.
    n_parameters : int
        Number of its own parameters, without those of the layers inside it.
    n_trainable : int
        Those of them that are trained.
    multiply_adds : float
        Multiplications with weights for one row, in this layer alone.
    """

    name: str
    kind: str
    output_shape: tuple[int | None, ...] | None
    n_parameters: int
    n_trainable: int
    multiply_adds: float


@dataclass(frozen=True)
class ModuleSummary:
    """A fitted module, layer by layer, shown as a table of text or, in notebooks, HTML.

    Attributes
    ----------
    layers : list of Layer
        All layers, each before those inside it, with ``name``, ``kind``, ``output_shape`` (None
        stands for the rows), ``n_parameters``, ``n_trainable`` and ``multiply_adds``.
    n_parameters : int
        Number of parameters; one that several layers share counts once.
    n_trainable : int
        Number of those that are trained.
    multiply_adds : float
        About how many multiplications with weights one row costs in a forward pass.

    See Also
    --------
    summary : Makes one.

    Examples
    --------
    >>> from sktorch.inspection import ModuleSummary
    >>> print(ModuleSummary([], n_parameters=0, n_trainable=0, multiply_adds=0))
    layer  output  parameters  multiply-adds
    0 parameters, 0 multiply-adds a row
    """

    layers: list[Layer]
    n_parameters: int
    n_trainable: int
    multiply_adds: float

    def __str__(self) -> str:
        rows = [HEADER, *self._rows()]
        widths = [max(len(row[j]) for row in rows) for j in range(len(HEADER))]
        lines = [
            "  ".join(
                cell.ljust(width) if side == "left" else cell.rjust(width)
                for cell, width, side in zip(row, widths, ALIGNMENT, strict=True)
            ).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, self._total()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(map(_html_cell, ["th"] * 4, HEADER, ALIGNMENT))
        rows = "".join(
            f"<tr>{''.join(map(_html_cell, ['td'] * 4, row, ALIGNMENT))}</tr>"
            for row in self._rows()
        )
        return (
            f'<table class="parameters-table"><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table><p>{self._total()}</p>"
        )

    def _rows(self) -> list[tuple[str, ...]]:
        """Return the cells of the first layers, and how many follow."""
        rows = [_cells(layer) for layer in self.layers[:MAX_LAYERS]]
        n_more = len(self.layers) - len(rows)
        return [*rows, (f"… {n_more:,} more", "", "", "")] if n_more else rows

    def _total(self) -> str:
        n_frozen = self.n_parameters - self.n_trainable
        frozen = f" ({n_frozen:,} of them frozen)" if n_frozen else ""
        cost = f"{self.multiply_adds:,.0f} multiply-adds a row"
        return f"{self.n_parameters:,} parameters{frozen}, {cost}"


def summary(estimator: Any) -> ModuleSummary:
    """Say what a fitted module consists of: layers, output shapes, parameters and cost.

    Shapes and cost are those of the call on a few rows by which ``fit`` tries the module. Cost
    counts products with weights, as those of linear, convolutional and recurrent layers and of
    the projections of attention.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator of sktorch, a pipeline that ends in one, or a search over one with
        ``refit=True``.

    Returns
    -------
    summary : ModuleSummary
        The layers and the totals. It prints as a table; notebooks show it as HTML.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is no estimator of sktorch.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sktorch import TorchClassifier
    >>> from sktorch.inspection import summary
    >>> from sktorch.modules import MLP
    >>> X, y = load_digits(return_X_y=True)
    >>> net = TorchClassifier(MLP, module__hidden=(50,), max_epochs=1).fit(X, y)
    >>> print(summary(net))
    layer          output  parameters  multiply-adds
    MLP            N×10
      (0) Flatten  N×64
      (1) Linear   N×50         3,250          3,200
      (2) ReLU     N×50
      (3) Linear   N×10           510            500
    3,760 parameters, 3,700 multiply-adds a row
    """
    fitted = trained(estimator)
    if not isinstance(getattr(fitted, "module_", None), nn.Module):
        raise TypeError(
            f"{type(fitted).__name__} has no module_. Pass a fitted estimator of sktorch, a "
            "pipeline that ends in one, or a search over one with refit=True."
        )
    module, work = fitted.module_, _work_of(fitted)
    costs = {name: (shape, multiply_adds) for name, shape, multiply_adds in work.layers}
    layers = [
        Layer(name, type(layer).__name__, *_found(costs, name, layer))
        for name, layer in module.named_modules()
    ]
    n_parameters, n_trainable = _count(module.parameters())
    # Files of the first versions hold the sum alone.
    total = sum(cost for *_, cost in work.layers) if work.layers else work.multiply_adds
    return ModuleSummary(layers, n_parameters, n_trainable, total)


def _html_cell(tag: str, text: str, side: str) -> str:
    return f'<{tag} style="text-align: {side}; white-space: pre">{escape(text)}</{tag}>'


def _work_of(fitted: Any) -> Work:
    """Return what a row costs: as it was measured in ``fit``, or of the table's columns."""
    if hasattr(fitted, "net_"):
        return fitted.net_.work_
    module = copy.deepcopy(fitted.module_).eval()  # In train mode it would draw random numbers.
    like = next(module.parameters())
    rows = torch.zeros(2, len(fitted.cleaner_.cardinalities_)).to(like)
    with torch.no_grad():
        return measure_work(module, rows)[1]


def _found(costs: dict[str, tuple], name: str, layer: nn.Module) -> tuple:
    shape, multiply_adds = costs.get(name, (None, 0.0))
    return shape, *_count(layer.parameters(recurse=False)), multiply_adds


def _count(parameters: Any) -> tuple[int, int]:
    """Return the number of all and of trainable parameters."""
    known = [parameter for parameter in parameters if not is_lazy(parameter)]
    trainable = [parameter for parameter in known if parameter.requires_grad]
    return sum(p.numel() for p in known), sum(p.numel() for p in trainable)


def _cells(layer: Layer) -> tuple[str, ...]:
    """Return the cells of a line; names are indented by their depth, and zeros left out."""
    depth = layer.name.count(".") + 1 if layer.name else 0
    own = layer.name.rpartition(".")[2]
    name = f"{'  ' * depth}({own}) {layer.kind}" if layer.name else layer.kind
    shape = layer.output_shape
    text = "" if shape is None else "×".join("N" if n is None else str(n) for n in shape)
    numbers = layer.n_parameters, round(layer.multiply_adds)
    return name, text, *(f"{number:,}" if number else "" for number in numbers)
