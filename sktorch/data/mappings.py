"""Several inputs by name: a mapping of arrays."""

from collections.abc import Mapping
from typing import Any

from scipy import sparse
from sklearn.utils import check_consistent_length

from sktorch.data.arrays import as_rows, check_values, is_lazy_array
from sktorch.data.rows import RowSource
from sktorch.data.source import Settings


class Named(RowSource):
    """A mapping of arrays, named like the arguments of the module's ``forward``."""

    def __init__(self, X: Mapping[str, Any], settings: Settings) -> None:
        from skorch.helper import SliceDict  # Here, for it imports skorch's command line.

        super().__init__(X, settings)
        name = settings.checked_for
        if name is not None:
            _check_names(X)
        arrays = {
            key: as_rows(x) if name is None else check_values(x, name, f"X[{key!r}]", n_dims=1)
            for key, x in X.items()
        }
        check_consistent_length(*arrays.values())
        self.values = SliceDict(**arrays)  # Callbacks index it by rows.

    @staticmethod
    def accepts(X: Any, settings: Settings) -> bool:
        """Accept mappings but scipy's dok arrays."""
        return isinstance(X, Mapping) and not sparse.issparse(X)

    @property
    def is_lazy(self) -> bool:
        """Whether the rows of an entry are in a file, or sparse."""
        return any(map(is_lazy_array, self.values.values()))


def _check_names(X: Mapping) -> None:
    if not X or not all(isinstance(name, str) for name in X):
        raise ValueError(
            f"X is a dict with the keys {list(X)}; expected the names of the arguments of the "
            "module's forward. Change the keys of X."
        )
