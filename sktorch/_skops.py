"""Estimators in archives of skops, as which MLflow keeps models: inside pipelines and searches.

Inside of a skops archive, an estimator is the bytes of a file that `save` writes, beside the
classes and functions of the user, so that it is skops that audits these, by their names.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

from sktorch._saved_types import KNOWN
from sktorch._saving import KIND, decoded, encodable
from sktorch.persistence import archive
from sktorch.persistence.estimators import ARCHIVE, SavedEstimator
from sktorch.persistence.names import import_path, is_named, trusted_names
from sktorch.preprocessing._saved_types import CLEANER_TYPES

_SOURCE = "An estimator in a skops archive"


def support_skops() -> None:
    """Let skops keep estimators, now or as soon as it is imported, which takes it a second."""
    SavedEstimator._from_archive = staticmethod(_from_archive)
    if "skops.io" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _WhenImported("skops.io", _register))


def _register() -> None:
    with suppress(ImportError, AttributeError):  # of private names in another version of skops
        from sktorch._private.skops import register

        estimators = [name for name, value in KNOWN.items() if _is_estimator(value)]
        cleaners = [import_path(value) for value in CLEANER_TYPES]
        register(SavedEstimator, _name_and_state, estimators + cleaners)


def _is_estimator(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, SavedEstimator)


def _name_and_state(estimator: SavedEstimator) -> tuple[str, dict[str, Any]]:
    """Return the name of an estimator's class, and its file with what that needs of the user."""
    content, encoder = encodable(estimator, training_state=True)
    data = np.frombuffer(archive.dumps(content, KIND, encoder), np.uint8)
    name, others = encoder.names.name_of(type(estimator)), encoder.needs_trust()
    return name, {ARCHIVE: data, "uses": [others[key] for key in others if key != name]}


def _from_archive(kind: type, state: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of an estimator in an archive, of which skops has audited all uses."""
    # skops audits classes and functions, but no texts: a name would be imported unseen.
    if not all(map(is_named, state["uses"])):
        raise ValueError(f"{_SOURCE} is damaged: it names what it uses by texts. Save it again.")
    tree, tensors = archive.loads(_SOURCE, state[ARCHIVE].tobytes(), KIND)
    trusted = trusted_names([kind, *state["uses"]])
    return {**vars(decoded(_SOURCE, tree, tensors, trusted))}


class _WhenImported(MetaPathFinder):
    """A finder that lets another find one module, and calls a function when that is imported.

    To import skops takes a second, and MLflow imports it when it keeps a model: nobody is there to
    call a function of ours in between.
    """

    def __init__(self, name: str, function: Callable[[], None]) -> None:
        self.name, self.function = name, function

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's specification, with a loader that calls the function at the end."""
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = partial(  # type: ignore[method-assign]
                self._run, spec.loader.exec_module
            )
        return spec

    def _run(self, execute: Callable[[ModuleType], None], module: ModuleType) -> None:
        execute(module)
        self.function()
