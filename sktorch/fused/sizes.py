"""What models have in common that differ in nothing but sizes, as the widths of layers."""

from collections.abc import Hashable
from typing import Any

from sktorch.fused.padding import Shapes


def shapes_of(structure: Any) -> Shapes:
    """Return the shapes of parameters and buffers that `Model.structure` found."""
    (_, tensors), _ = structure
    return tuple((name, shape) for name, shape, *_ in tensors)


def without_sizes(structure: Any) -> Hashable:
    """Return a structure without the shapes of tensors, and the attributes that repeat them.

    An attribute repeats a size if it is a number that one of the layer's own tensors, or of those
    inside it, has as a dimension. It may mean something else: only a trial shows that models with
    the same value are computed by the same code.
    """
    (layers, tensors), groups = structure
    loose_layers = tuple(
        (name, *others, _without(_sizes_in(name, tensors), attributes))
        for name, *others, attributes in layers
    )
    loose_tensors = tuple((name, len(shape), *rest) for name, shape, _, *rest in tensors)
    return (loose_layers, loose_tensors), groups


def _sizes_in(layer: str, tensors: Any) -> set[int]:
    inside = f"{layer}." if layer else ""
    return {size for name, shape, *_ in tensors if name.startswith(inside) for size in shape}


def _without(sizes: set[int], value: Any) -> Any:
    """Return a part of a fingerprint without the numbers that are sizes."""
    if not isinstance(value, tuple):
        return value
    if len(value) == 2 and value[0] is int:
        return (int, "a size") if value[1] in sizes else value
    return tuple(_without(sizes, part) for part in value)
