"""Tensors of several sizes in one stack: each stands in a corner of a larger one, beside zeros."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from sktorch._private.torch import copy_all

Shape = tuple[int, ...]
# The shapes of a model's parameters and buffers by name, as a dict's items.
Shapes = tuple[tuple[str, Shape], ...]


def largest(first: Shapes, second: Shapes) -> Shapes:
    """Return the smallest shapes that have room for two models' tensors of the same names."""
    pairs = zip(first, second, strict=True)
    return tuple((name, tuple(map(max, a, b))) for (name, a), (_, b) in pairs)


def n_elements(shapes: Shapes) -> int:
    """Return the number of elements of all tensors together."""
    return sum(math.prod(shape) for _, shape in shapes)


def corner(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the first elements along each dimension, as many as a shape has."""
    if tensor.shape == shape:
        return tensor
    return tensor.as_strided(shape, tensor.stride(), tensor.storage_offset())


def stacked(tensors: list[Tensor], shape: Shape) -> Tensor:
    """Return tensors along a new first dimension, padded with zeros to a shape."""
    if all(tensor.shape == shape for tensor in tensors):
        return torch.stack(tensors)
    return stack_into(tensors[0].new_zeros(len(tensors), *shape), tensors)


def stack_into(rows: Tensor, tensors: list[Tensor]) -> Tensor:
    """Write tensors to the corners of the first rows of a stack; return the stack."""
    if all(tensor.shape == rows.shape[1:] for tensor in tensors):
        torch.stack(tensors, out=rows[: len(tensors)])
        return rows
    corners = [corner(row, t.shape) for row, t in zip(rows.unbind(), tensors, strict=False)]
    copy_all(corners, tensors)
    return rows


def padding_mask(rows: Tensor, shapes: Iterable[Shape]) -> Tensor | None:
    """Return zeros in the padding of a stack's rows and ones elsewhere; None without padding.

    Rows beyond the shapes are like the first one.
    """
    shapes = [*shapes]
    if all(shape == rows.shape[1:] for shape in shapes):
        return None
    shapes += shapes[:1] * (len(rows) - len(shapes))
    ones = [rows.new_ones(shape) for shape in shapes]
    return stack_into(torch.zeros_like(rows), ones)
