"""Operations that see the padding of a stack, or another model's rows, though their sizes fit."""

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
# Functions that order elements, and which argument is the dimension. The zeros of padding take part
# as soon as a model's own elements are negative, which no trial can know.
_ORDERS: dict[Any, int] = {
    getattr(owner, name): place
    for owner in (torch, Tensor)
    for names, place in (
        ("max min amax amin argmax argmin aminmax sort argsort msort cummax cummin", 1),
        ("topk kthvalue", 2),
    )
    for name in names.split()
    if hasattr(owner, name)
}


class OwnTables(TorchFunctionMode):
    """Embeds out-of-range codes as NaN, and refuses what would see padding only now and then.

    The latter are look-ups in tables of several lengths, and orders of padded elements. Under vmap
    all models' tables are one, so that a code out of range would read another model's row; or
    padding. Alone it is an error; so is a loss that is not finite.
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
        if function in _ORDERS and self._padded_lengths:
            self._check_order(_ORDERS[function], args, kwargs)
        if function is not F.embedding:
            return function(*args, **kwargs)
        return _embedding_or_nan(*args, **kwargs)

    def _check(self, place: int, args: tuple) -> None:
        by_tensor = any(isinstance(index, Tensor) for index in args[1:])
        if by_tensor and len(args[place]) in self._padded_lengths:
            raise NotWorthStacking("it looks up rows of tables of several lengths")

    def _check_order(self, place: int, args: tuple, kwargs: dict) -> None:
        tensor = args[0] if args else kwargs["input"]
        dim = kwargs.get("dim", kwargs.get("axis", args[place] if len(args) > place else None))
        if isinstance(dim, Tensor) or "other" in kwargs:  # It is element by element.
            return
        dims = range(tensor.ndim) if dim in (None, ()) else [dim] if isinstance(dim, int) else dim
        if any(tensor.shape[d] in self._padded_lengths for d in dims):
            raise NotWorthStacking("it orders elements of several numbers")


def _embedding_or_nan(input: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    unknown = (input < 0) | (input >= weight.shape[0])
    rows = F.embedding(input.masked_fill(unknown, 0), weight, *args, **kwargs)
    return rows.masked_fill(unknown.unsqueeze(-1), torch.nan)
