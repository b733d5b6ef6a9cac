"""What models have in common that differ in nothing but sizes, as the widths of layers."""

from collections import defaultdict
from collections.abc import Hashable, Iterator
from typing import Any

from sktorch.fused.padding import Shapes


def shapes_of(structure: Any) -> Shapes:
    """Return the shapes of parameters and buffers that `Model.structure` found."""
    (_, tensors), _ = structure
    return tuple((name, shape) for name, shape, *_ in tensors)


def without_sizes(structure: Any) -> Hashable:
    """Return a structure without the shapes of tensors, and the attributes that repeat them.

    An attribute repeats a size if it is a number that one of the layer's own tensors, or of those
    inside it, has as a dimension. It may mean something else, as `meanings` tells, and only a trial
    shows that models with other values are computed by the same code.
    """
    (layers, tensors), groups = structure
    loose_layers = tuple(
        (name, *others, _without(_sizes_in(name, tensors), attributes))
        for name, *others, attributes in layers
    )
    loose_tensors = tuple((name, len(shape), *rest) for name, shape, _, *rest in tensors)
    return (loose_layers, loose_tensors), groups


def meanings(structure: Any) -> tuple[frozenset, ...]:
    """Return what each number among the attributes may mean: itself, or a size of a tensor.

    Of models that differ in sizes alone, each number has a meaning in common.
    """
    (layers, tensors), _ = structure
    found = []
    for name, *_, attributes in layers:
        inside = f"{name}." if name else ""
        places: defaultdict[int, set] = defaultdict(set)
        for of_tensor, shape, *_ in tensors:
            if of_tensor.startswith(inside):
                for dim, size in enumerate(shape):
                    places[size].add((of_tensor, dim))
        found += [frozenset({n, *places[n]}) for n in _numbers(attributes) if n in places]
    return tuple(found)


def _numbers(value: Any) -> Iterator[int]:
    if isinstance(value, tuple):
        if len(value) == 2 and value[0] is int:
            yield value[1]
        else:
            for part in value:
                yield from _numbers(part)


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
