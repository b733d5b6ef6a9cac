"""Errors that name the argument or parameter at fault."""

import builtins
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from reprlib import repr as shortened
from typing import Any

import torch

_DTYPES = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool),
    *(torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.complex32, torch.complex64, torch.complex128),  # refused in scikit-learn's words
)


@contextmanager
def errors_name(
    name: str, given: Mapping[str, Any] = {}, of: type[Exception] = Exception
) -> Iterator[None]:
    """Raise errors of a type as a ValueError or TypeError that names a parameter.

    ``given`` holds the parameters of a component, which are named with it. An error whose class is
    not Python's own stays as it is: somebody may wait for it.
    """
    try:
        yield
    except of as error:
        if type(error).__name__ not in vars(builtins) or _names(error, name):
            raise
        names = [f"{name}__{key}" for key in given] or [name]
        values = [f"{name}__{key}={shortened(value)}" for key, value in given.items()]
        subject = f"{name} with {', '.join(values)}" if values else name
        kind = TypeError if isinstance(error, TypeError) else ValueError
        cause = str(error).strip().removesuffix(".") or type(error).__name__
        raise kind(f"{subject} can't be used: {cause}. Change {' or '.join(names)}.") from error


def _names(error: Exception, name: str) -> bool:
    """Say whether an error is a ValueError or TypeError that names a parameter already."""
    is_named = re.search(rf"\b{re.escape(name)}", str(error)) is not None
    return is_named and isinstance(error, ValueError | TypeError)


def check_tensor_kind(values: torch.Tensor) -> None:
    """Raise if a tensor is none that rows can be read from."""
    kinds = (
        (values.is_meta, "on the device meta, without values", "give it values"),
        (values.is_nested, "that is nested", "pass a list of tensors, or to_padded_tensor(0)"),
        (values.is_quantized, "that is quantised", "pass dequantize()"),
        (values.layout is not torch.strided, f"of layout {values.layout}", "pass to_dense()"),
        (values.dtype not in _DTYPES, f"of {values.dtype}", "pass float()"),
    )
    for is_of_kind, kind, cure in kinds:
        if is_of_kind:
            raise TypeError(f"got a torch tensor {kind}, expected a dense one of numbers: {cure}")
