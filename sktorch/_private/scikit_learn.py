"""Private names of scikit-learn."""

from typing import Any

from sklearn.base import BaseEstimator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils._set_output import _get_output_config


# The base of scikit-learn's searches, which its own documentation tells to extend by `_run_search`.
# HalvingSearchCV overrides this and `_select_best_index`, and reads `_checked_cv_orig`. Without
# these names it can't be imported, or searches every candidate once.
__all__ = ["BaseSearchCV"]


class ParameterNamesOnce(BaseEstimator):
    """An estimator whose class looks up the names in its signature once.

    scikit-learn looks at the signature several times a clone. Without the private method's name,
    only that time is lost.
    """

    _parameter_names: tuple[str, ...]

    @classmethod
    def _get_param_names(cls) -> list[str]:
        if "_parameter_names" not in vars(cls):
            cls._parameter_names = tuple(super()._get_param_names())
        return list(cls._parameter_names)


def callback_context(estimator: Any, max_subtasks: int) -> Any:
    """Return the context through which a fit calls scikit-learn's callbacks.

    scikit-learn asks third-party estimators to call this method. Without it, every fit fails.
    """
    return estimator._init_callback_context(max_subtasks=max_subtasks)


def has_callbacks(context: Any) -> bool:
    """Say whether a context calls any callback.

    scikit-learn does not tell otherwise. Without the private name it is taken to call some, and
    every epoch is trained by itself.
    """
    return bool(getattr(context, "_callbacks", True))


def output_library(transformer: Any) -> str:
    """Return the container that set_output or the configuration asks for.

    Without the module importing sktorch fails.
    """
    return _get_output_config("transform", transformer)["dense"]
