"""What is predicted of a network's outputs, as modules that may stand behind the network."""

from collections.abc import Callable
from math import prod
from typing import Any

from torch import Tensor, nn


class Decoding(nn.Module):
    """A function of a criterion and the outputs of the network that it trained."""

    def __init__(self, function: Callable[[nn.Module, Any], Any], criterion: nn.Module) -> None:
        super().__init__()
        self.function, self.criterion = function, criterion

    def extra_repr(self) -> str:
        """Return the function's name."""
        return self.function.__qualname__

    def forward(self, output: Any) -> Any:
        """Return predictions; for several columns of labels a tuple with a tensor for each."""
        predicted = self.function(self.criterion, output)
        return tuple(predicted) if isinstance(predicted, list) else predicted


class ScaledDecoding(Decoding):
    """A function whose values are scaled numbers, put back into the scale of y.

    ``shape`` is that of a row of y. Scale and mean are buffers, which are moved and saved.
    """

    scale: Tensor
    mean: Tensor

    def __init__(
        self,
        function: Callable[[nn.Module, Tensor], Tensor],
        criterion: nn.Module,
        scale: Tensor,
        mean: Tensor,
        limit: float | None,
        shape: tuple[int, ...],
    ) -> None:
        super().__init__(function, criterion)
        self.register_buffer("scale", scale)
        self.register_buffer("mean", mean)
        self.limit, self.shape = limit, shape

    def forward(self, output: Tensor) -> Tensor:
        """Return numbers in the scale and the shape of y."""
        scaled = self.function(self.criterion, output)
        return in_rows(in_scale(scaled, self.scale, self.mean, self.limit), self.shape)


def in_scale(values: Tensor, scale: Tensor, mean: Tensor, limit: float | None) -> Tensor:
    """Return values times the scale, plus the mean, in the dtype and on the device of these two.

    What is beyond the limit, if there is any, becomes the limit.
    """
    rescaled = values.to(scale) * scale + mean
    return rescaled if limit is None else rescaled.clamp(-limit, limit)


def in_rows(values: Any, shape: tuple[int, ...]) -> Any:
    """Return rows of so many numbers in a shape; rows of more, several quantiles, stay columns."""
    fits = values.shape[1] == prod(shape)
    return values.reshape(values.shape[0], *shape) if fits else values
