"""What estimators are that files hold."""

from typing import Any, ClassVar

# In the state of an estimator in an archive of skops, the key of the file that `save` would write.
ARCHIVE = "archive"


class SavedEstimator:
    """Base of the estimators that `save` writes, and that skops keeps as such files."""

    _from_archive: ClassVar[Any]  # a function, set by `_skops`, which knows all types

    def __setstate__(self, state: dict[str, Any]) -> None:
        if ARCHIVE in state:
            state = self._from_archive(type(self), state)
        super().__setstate__(state)  # type: ignore[misc]  # of scikit-learn's BaseEstimator
