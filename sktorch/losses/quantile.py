"""The loss whose minimiser is a quantile."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sktorch.losses.links import NumberLink

REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": torch.mean,
    "sum": torch.sum,
    "none": lambda losses: losses,
}


class QuantileLoss(nn.Module):
    """The pinball loss, ``q * max(y - f, 0) + (1 - q) * max(f - y, 0)``.

    Its expected value is least where ``f`` is the q-quantile of y [1]_. scikit-learn has the same
    as a metric, `sklearn.metrics.mean_pinball_loss`.

    Parameters
    ----------
    quantile : float or sequence of float, default=0.5
        The quantile, between 0 and 1, both excluded. A sequence asks for several at once: the
        output then has one more dimension than the target, its last, with a column for each.
    reduction : {"mean", "sum", "none"}, default="mean"
        How the losses of all outputs become one: their mean, their sum, or not at all.

    Raises
    ------
    ValueError
        If a quantile or ``reduction`` is out of its domain, or when output and target do not fit
        together.

    References
    ----------
    .. [1] R. Koenker and G. Bassett, "Regression Quantiles", Econometrica 46(1), 1978, 33-50.

    Examples
    --------
    >>> import torch
    >>> from sktorch.losses import QuantileLoss
    >>> output, target = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0])
    >>> QuantileLoss(0.9)(output, target)
    tensor(0.5000)
    >>> several = QuantileLoss([0.1, 0.5, 0.9], reduction="none")
    >>> several(torch.zeros(2, 3), target).shape
    torch.Size([2, 3])
    """

    levels: Tensor

    def __init__(self, quantile: float | Sequence[float] = 0.5, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(
                f"reduction={reduction!r} is not known; expected one of {[*REDUCTIONS]}."
            )
        self.quantile, self.reduction = quantile, reduction
        # A buffer moves along with the loss. It is no state: the constructor makes it.
        self.register_buffer("levels", _levels(quantile), persistent=False)

    def extra_repr(self) -> str:
        """Return the quantiles."""
        return f"quantile={self.quantile}"

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        output : torch.Tensor of shape (...) or, for several quantiles, (..., n_quantiles)
        target : torch.Tensor of shape (...); for several quantiles also (..., 1)

        Returns
        -------
        loss : torch.Tensor
            A scalar, or of the output's shape where ``reduction`` is "none".
        """
        error = _matched(output, target, self.levels) - output
        losses = torch.maximum(self.levels * error, (self.levels - 1) * error)
        return REDUCTIONS[self.reduction](losses)


def _levels(quantile: float | Sequence[float]) -> Tensor:
    """Return the quantiles as a tensor; raise ValueError for other values."""
    try:
        levels = torch.as_tensor(quantile, dtype=torch.get_default_dtype())
    except (TypeError, ValueError, RuntimeError):
        levels = torch.empty(0)
    if levels.ndim > 1 or levels.numel() == 0 or not ((levels > 0) & (levels < 1)).all():
        raise ValueError(
            f"quantile={quantile!r} must be a number between 0 and 1, both excluded, or a "
            "sequence of such numbers."
        )
    return levels


def _matched(output: Tensor, target: Tensor, levels: Tensor) -> Tensor:
    """Return the target with a last dimension for several quantiles; raise for other shapes."""
    if levels.ndim == 0:
        if output.shape != target.shape:
            raise ValueError(
                f"The output has shape {tuple(output.shape)} and the target {tuple(target.shape)}; "
                "for one quantile they must be the same. Change the module's output."
            )
        return target
    rows = output.shape[:-1]
    if output.shape[-1:] != levels.shape or target.shape not in (rows, (*rows, 1)):
        raise ValueError(
            f"The output has shape {tuple(output.shape)} and the target {tuple(target.shape)}; for "
            f"{len(levels)} quantiles the output must have the target's shape and a last dimension "
            f"of {len(levels)} beside. Change the module's output, or quantile."
        )
    return target.reshape(*rows, 1)


def _n_quantiles(criterion: QuantileLoss) -> int:
    return criterion.levels.numel()


QUANTILES = NumberLink(n_outputs=_n_quantiles, n_predictions=_n_quantiles)
