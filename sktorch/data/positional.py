"""Several inputs by position: a list or tuple of arrays, as Keras takes them."""

from typing import Any

from sklearn.utils import check_consistent_length

from sktorch.data.arrays import as_rows, is_lazy_array
from sktorch.data.mappings import checked_input
from sktorch.data.rows import RowSource
from sktorch.data.source import Settings, n_inputs


class SliceTuple(tuple):
    """A tuple of arrays whose rows an array of numbers takes, as skorch's ``SliceDict`` has it."""

    @property
    def shape(self) -> tuple[int]:
        """``(n_rows,)``, by which scikit-learn counts rows."""
        return (self[0].shape[0],)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, int):  # One of the arrays, as in any tuple.
            return super().__getitem__(key)
        return SliceTuple(x[key] for x in self)


class Positional(RowSource):
    """Arrays that go to the module's ``forward`` in their order."""

    def __init__(self, X: list | tuple, settings: Settings) -> None:
        super().__init__(X, settings)
        name = settings.checked_for
        arrays = [
            as_rows(x) if name is None else checked_input(f"X[{position}]", x, name)
            for position, x in enumerate(X)
        ]
        check_consistent_length(*arrays)
        self.values = SliceTuple(arrays)  # Callbacks index it by rows.

    @staticmethod
    def accepts(X: Any, settings: Settings) -> bool:
        """Accept as many arrays as were fitted, or arrays whose rows are those of y."""
        if not isinstance(X, list | tuple) or not X:
            return False
        shapes = [tuple(getattr(x, "shape", ())) for x in X]
        if not all(shapes):
            return False
        fitted = settings.fitted_shape
        if fitted is not None:
            fitted = fitted if n_inputs(fitted) > 1 else (fitted,)
            n_dims = [len(shape) + 1 for shape in fitted]
            return not isinstance(fitted, dict) and [*map(len, shapes)] == n_dims
        if settings.n_rows is None or isinstance(X, tuple):  # A tuple is hardly ever one of rows.
            return isinstance(X, tuple) and len(X) != settings.n_rows
        return len(X) != settings.n_rows and all(n == settings.n_rows for n, *_ in shapes)

    @property
    def is_lazy(self) -> bool:
        """Whether the rows of an input are in a file, or sparse."""
        return any(map(is_lazy_array, self.values))
