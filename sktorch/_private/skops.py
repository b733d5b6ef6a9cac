"""Private names of skops.

skops has no public way to add a type or to trust one by default; for other libraries it uses these
names itself. Without them, skops refuses the estimators, and nothing else changes.
"""

from collections.abc import Callable, Iterable
from typing import Any

from skops.io._trusted_types import SKLEARN_ESTIMATOR_TYPE_NAMES
from skops.io._utils import SaveContext, _get_state, get_state


def register(
    estimator_class: type, take: Callable[[Any], tuple[str, Any]], trusted: Iterable[str]
) -> None:
    """Let skops keep estimators by the name and the state that a function takes of them.

    The name is that of the class, and the state what its `__setstate__` will be given. Names that
    are ``trusted`` are so by default, like scikit-learn's own estimators.
    """

    @_get_state.register(estimator_class)
    def estimator_state(estimator: Any, context: SaveContext) -> dict[str, Any]:
        name, state = take(estimator)
        module, _, kind = name.rpartition(".")
        return {
            "__class__": kind,
            "__module__": module,
            "__loader__": "ObjectNode",
            "content": get_state(state, context),
        }

    SKLEARN_ESTIMATOR_TYPE_NAMES.extend(trusted)
