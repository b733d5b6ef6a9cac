"""Look-ups in tables of parameters, where the tables of many models are one."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sktorch.fused.agreement import NotWorthStacking

# Functions that read rows of a table by number, and which argument is the table.
_LOOKUPS: dict[Any, int] = {F.embedding: 1, Tensor.__getitem__: 0} | dict.fromkeys(
    (Tensor.index_select, torch.index_select, Tensor.gather, torch.gather), 0
)


class OwnTables(TorchFunctionMode):
    """Embeds out-of-range codes as NaN, and refuses look-ups in tables of several lengths.

    Under vmap all models' tables are one, so such a code would read another model's row; or
    padding, where tables are padded to a length. Alone it is an error; so is a loss that is not
    finite.
    """

    def __init__(self, padded_lengths: set[int]) -> None:
        super().__init__()
        self._padded_lengths = padded_lengths

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in _LOOKUPS and self._padded_lengths:
            self._check(_LOOKUPS[function], args)
        if function is not F.embedding:
            return function(*args, **kwargs)
        return _embedding_or_nan(*args, **kwargs)

    def _check(self, place: int, args: tuple) -> None:
        by_tensor = any(isinstance(index, Tensor) for index in args[1:])
        if by_tensor and len(args[place]) in self._padded_lengths:
            raise NotWorthStacking("it looks up rows of tables of several lengths")


def _embedding_or_nan(input: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    unknown = (input < 0) | (input >= weight.shape[0])
    rows = F.embedding(input.masked_fill(unknown, 0), weight, *args, **kwargs)
    return rows.masked_fill(unknown.unsqueeze(-1), torch.nan)
