"""The one place that asks what kind of data X is."""

from collections.abc import Mapping
from typing import Any

from scipy import sparse

from sktorch.data.arrays import Array, Frame, LazyFrame, Sparse, Tensor
from sktorch.data.chunks import Chunks
from sktorch.data.data_loaders import Loaded
from sktorch.data.datasets import Samples
from sktorch.data.mappings import Named
from sktorch.data.positional import Positional
from sktorch.data.sequences import Sequences
from sktorch.data.source import Settings, Source, n_inputs
from sktorch.data.streams import Stream
from sktorch.data.structure import only_entry

# The first that accepts X takes it: arrays of several inputs may look like sequences, sequences may
# come as an array or a tensor, scipy's dok arrays are dicts, and a LazyFrame has columns, too.
KINDS: tuple[type[Source], ...] = (
    Chunks,
    Stream,
    Samples,
    Loaded,
    Positional,
    Sequences,
    Sparse,
    Named,
    Tensor,
    LazyFrame,
    Frame,
    Array,
)


def as_source(X: Any, **settings: Any) -> Source:
    """Return X as a source of its kind, with the `Settings` given; a source comes back as it is."""
    if isinstance(X, Source):
        return X
    known = Settings(**settings)
    X = _unpacked(X, known)
    return next(kind for kind in KINDS if kind.accepts(X, known))(X, known)


def _unpacked(X: Any, settings: Settings) -> Any:
    """Return the rows in a container of a single array, which is the module's first input."""
    if not isinstance(X, list | tuple | Mapping) or len(X) != 1 or sparse.issparse(X):
        return X
    fitted = settings.fitted_shape
    if isinstance(fitted, dict) or n_inputs(fitted) > 1:
        return X
    if isinstance(X, Mapping):
        entry = only_entry(X, settings.arguments)
    else:
        entry = X[0] if Positional.accepts(X, settings) else X
    # Numbers, one for each row, go to the module only by their name or place.
    return X if entry is X or _n_dims(entry) == 1 else entry


def _n_dims(values: Any) -> int:
    """Return the number of dimensions of an array, or of a list that begins with a row."""
    if hasattr(values, "shape"):
        return len(values.shape)
    first = values[0] if isinstance(values, list) and values else None
    return 2 if isinstance(first, list) or hasattr(first, "shape") else 1
