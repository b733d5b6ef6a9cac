"""The one place that asks what kind of data X is."""

from typing import Any

from sktorch.data.arrays import Array, Frame, Sparse, Tensor
from sktorch.data.datasets import Samples
from sktorch.data.mappings import Named
from sktorch.data.sequences import Sequences
from sktorch.data.source import Settings, Source
from sktorch.data.streams import Stream

# The first that accepts X takes it: sequences may come as an array or a tensor, and scipy's dok
# arrays are dicts.
KINDS: tuple[type[Source], ...] = (
    Stream,
    Samples,
    Sequences,
    Sparse,
    Named,
    Tensor,
    Frame,
    Array,
)


def as_source(X: Any, **settings: Any) -> Source:
    """Return X as a source of its kind, with the `Settings` given; a source comes back as it is."""
    if isinstance(X, Source):
        return X
    known = Settings(**settings)
    return next(kind for kind in KINDS if kind.accepts(X, known))(X, known)
