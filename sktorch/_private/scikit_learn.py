"""Private names of scikit-learn."""

from typing import Any

from sklearn.base import BaseEstimator


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


def callbacks_of(estimator: Any) -> list:
    """Return scikit-learn's callbacks of an estimator.

    Without the name, what they change between the epochs of a fused search could be missed.
    """
    return list(getattr(estimator, "_skl_callbacks", ()))
