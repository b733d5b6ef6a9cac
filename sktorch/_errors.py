"""Errors that name the argument or parameter at fault."""

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
_PLAIN = (
    *(ValueError, TypeError, RuntimeError, LookupError, AttributeError),
    *(ArithmeticError, AssertionError),
)


@contextmanager
def errors_name(
    name: str,
    given: Mapping[str, Any] = {},
    where: str = "",
    of: type[Exception] = Exception,
) -> Iterator[None]:
    """Raise an error of a class as a ValueError or TypeError that names the parameter it is about.

    ``given`` holds the parameters of a component, which are named with it; ``where`` says what it
    was used on. An error of another library, of the user, of memory or of files stays as it is:
    somebody may wait for it.
    """
    try:
        yield
    except of as error:
        is_plain = isinstance(error, _PLAIN) and type(error).__module__ == "builtins"
        if not is_plain or _names(error, name):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(_message(error, name, given, where)) from error


def _message(error: Exception, name: str, given: Mapping[str, Any], where: str) -> str:
    """Return an error's words with the parameter they are about, and which to change."""
    values = [f"{name}__{key}={shortened(value)}" for key, value in given.items()]
    subject = f"{name} with {', '.join(values)}" if values else name
    only = f"{name}__{next(iter(given))}" if len(given) == 1 else f"{name}__*"
    cause = str(error).strip().removesuffix(".") or type(error).__name__
    return f"{subject} can't be used{where}: {cause}. Change {only if given else name}."


def _names(error: Exception, name: str) -> bool:
    """Say whether an error is a ValueError or TypeError that names a parameter already."""
    is_named = re.search(rf"\b{re.escape(name)}(?![^\W_])", str(error)) is not None  # not y of you
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
