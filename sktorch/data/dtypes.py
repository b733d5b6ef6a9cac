"""The dtypes in which a module gets its inputs: floats in its own, the rest as what they are."""

from collections.abc import Iterator
from itertools import chain, combinations, count, islice
from typing import Any

import numpy as np
import torch

from sktorch.data.structure import tree_leaves, tree_map

# One, or a dict or tuple of them for several inputs.
Dtypes = torch.dtype | dict[str, torch.dtype] | tuple[torch.dtype, ...]

# float32 has every integer up to here.
LARGEST_EXACT = 2**24
# Calls of a module on two rows at most, until one is taken: there are 2**n choices of n inputs.
MAX_TRIALS = 64


def own_dtype(values: Any, floating: torch.dtype) -> torch.dtype:
    """Return bool for booleans, int64 for integers, and the floating dtype given for floats."""
    if isinstance(values, torch.Tensor):
        dtype = values.dtype
        is_bool, is_complex = dtype is torch.bool, dtype.is_complex
        is_integer = not (is_bool or is_complex or dtype.is_floating_point)
    else:
        kind = values.dtype.kind
        is_bool, is_complex, is_integer = kind == "b", kind == "c", kind in "iu"
    if is_complex:
        raise ValueError(
            f"Complex data not supported: X holds {values.dtype}. Pass its real and its imaginary "
            "part."
        )
    return torch.bool if is_bool else torch.int64 if is_integer else floating


def own_dtypes(values: Any, floating: torch.dtype) -> Dtypes:
    """Return `own_dtype` of an array or tensor, or of each in a dict or tuple."""
    return tree_map(lambda x: own_dtype(x, floating), values)


def matching_dtypes(values: Any, dtypes: Dtypes) -> Dtypes:
    """Return the dtypes, or those for inputs of another structure, whose floats are in the same."""
    if isinstance(values, dict):
        matches = isinstance(dtypes, dict) and values.keys() == dtypes.keys()
    elif isinstance(values, tuple):
        matches = isinstance(dtypes, tuple) and len(values) == len(dtypes)
    else:
        matches = isinstance(dtypes, torch.dtype)
    if matches:
        return dtypes
    floating = [dtype for dtype in tree_leaves(dtypes) if dtype.is_floating_point]
    return own_dtypes(values, floating[0] if floating else torch.get_default_dtype())


def dtypes_to_try(example: Any, floating: torch.dtype, keep: bool) -> Iterator[Dtypes]:
    """Yield the dtypes in which a module may take its inputs, until it does.

    First each input is what it is, then as few as possible become floats. Without ``keep``, a
    single input becomes floats first, as scikit-learn has it.
    """
    own = own_dtypes(example, floating)
    if not keep and isinstance(own, torch.dtype):
        yield from dict.fromkeys((floating, own))
        return
    discrete = [n for n, dtype in enumerate(tree_leaves(own)) if dtype is not floating]
    sizes = range(len(discrete) + 1)
    choices = chain.from_iterable(combinations(discrete, size) for size in sizes)
    for cast in islice(choices, MAX_TRIALS):
        yield _with_floats(own, cast, floating)


def _with_floats(own: Dtypes, cast: tuple[int, ...], floating: torch.dtype) -> Dtypes:
    """Return dtypes of which those at some positions are replaced by the floating one."""
    position = count()
    return tree_map(lambda dtype: floating if next(position) in cast else dtype, own)


def cast_inputs(example: Any, dtypes: Dtypes) -> list[str]:
    """Return names of the inputs that are integers or booleans, but come as floats."""
    names = tree_map(lambda x, dtype: own_dtype(x, dtype) is not dtype, example, dtypes)
    if isinstance(names, dict):
        return [f"X[{name!r}]" for name, is_cast in names.items() if is_cast]
    if isinstance(names, tuple):
        return [f"X[{position}]" for position, is_cast in enumerate(names) if is_cast]
    return ["X"] if names else []


def exceeds_float32(values: Any) -> bool:
    """Say whether an array, sparse matrix or tensor holds integers that float32 would round."""
    if own_dtype(values, torch.float32) is not torch.int64:
        return False
    limits = torch.iinfo if isinstance(values, torch.Tensor) else np.iinfo
    if limits(values.dtype).max <= LARGEST_EXACT:
        return False
    return bool(values.min() < -LARGEST_EXACT or values.max() > LARGEST_EXACT)
