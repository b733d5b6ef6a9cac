"""Save an estimator to a file of tensors and JSON; load it without running code of the file."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sktorch._saved_types import KNOWN, adapters_of
from sktorch.persistence import archive
from sktorch.persistence.estimators import SavedEstimator
from sktorch.persistence.names import Names, Untrusted, is_named, trusted_names
from sktorch.persistence.nodes import BadTree, NotPlain
from sktorch.persistence.objects import ObjectDecoder, ObjectEncoder, names_in

KIND = "estimator"


def save(
    estimator: SavedEstimator, path: str | os.PathLike, *, training_state: bool = True
) -> None:
    """Save an estimator, fitted or not, to one file.

    The file is a safetensors file: tensors under their names, such as
    ``net_.module_.output.weight``, and the rest as JSON in its metadata. Classes and functions are
    kept by their names, never as code. The file is written beside and renamed, so that at any time
    it is the old one or the new one.

    Parameters
    ----------
    estimator : an estimator of sktorch, such as TorchClassifier or TabularRegressor
        The estimator. For a pipeline or a search that holds one, use ``skops.io.dump``.
    path : str or path-like
        The file, by convention with the ending ``.safetensors``.
    training_state : bool, default=True
        Whether the file keeps what only further training needs: the optimizer's state, the random
        numbers and the batches in the history. With it, ``warm_start`` and ``partial_fit`` go on
        as if nothing had happened. Without it, the file is about as large as the weights, with 8
        bytes for each number of the history, and they begin with a new optimizer. Arrays given
        as the parameter ``validation`` are part of the file in either case.

    Raises
    ------
    TypeError
        If the estimator holds an object that has no place in a file. The error names it.
    OSError
        If the file can't be written. What was there before stays.
    ImportError
        If safetensors is not installed; ``pip install 'sktorch[safe]'``.

    See Also
    --------
    load : Load the file.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import sktorch
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> fitted = sktorch.TorchClassifier(max_epochs=2, random_state=0).fit(X, y)
    >>> with TemporaryDirectory() as folder:
    ...     sktorch.save(fitted, Path(folder, "iris.safetensors"))
    ...     loaded = sktorch.load(Path(folder, "iris.safetensors"))
    >>> bool((loaded.predict_proba(X) == fitted.predict_proba(X)).all())
    True
    """
    content, encoder = encodable(estimator, training_state)
    try:
        archive.write(path, content, KIND, encoder)
    except NotPlain as error:
        raise _with_remedy(estimator, error) from error


def load(path: str | os.PathLike, *, trusted: Iterable[Any] = (), **parts: Any) -> Any:
    """Load an estimator that `save` saved, without running any code from the file.

    Modules, losses and optimizers of sktorch and torch are found by their names. All others have to
    be handed over, or named in ``trusted``; then their modules are imported.

    Parameters
    ----------
    path : str or path-like
        The file.
    trusted : iterable of str, classes and functions, default=()
        What the file may use beside sktorch and torch: names as in the error of this function
        (``"package.module.Net"``), or classes and functions themselves.
    **parts
        Classes and functions for parameters of the estimator, whatever they were called when they
        were saved: ``module=Net``, ``criterion=Loss``.

    Returns
    -------
    TorchClassifier, TorchRegressor, TabularClassifier or TabularRegressor
        The estimator. If its device is not there, it is on the CPU, with a warning.

    Raises
    ------
    ValueError
        If the file needs classes or functions that are not trusted, is damaged, was written by a
        newer version, or holds something else.
    OSError
        If the file can't be read.
    ImportError
        If safetensors is not installed; ``pip install 'sktorch[safe]'``.

    See Also
    --------
    save : Save an estimator.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import sktorch
    >>> from sklearn.datasets import load_iris
    >>> from torch import nn
    >>> class Net(nn.Sequential):
    ...     def __init__(self, n_features, n_outputs):
    ...         super().__init__(nn.Linear(n_features, n_outputs))
    >>> X, y = load_iris(return_X_y=True)
    >>> fitted = sktorch.TorchClassifier(Net, max_epochs=2, random_state=0).fit(X, y)
    >>> with TemporaryDirectory() as folder:
    ...     sktorch.save(fitted, Path(folder, "iris.safetensors"))
    ...     loaded = sktorch.load(Path(folder, "iris.safetensors"), module=Net)
    >>> bool((loaded.predict_proba(X) == fitted.predict_proba(X)).all())
    True
    """
    path = os.fspath(path)
    tree, tensors = archive.load(path, KIND)
    handed_over = _handed_over(path, tree, parts)
    return decoded(path, tree, tensors, trusted_names(trusted) | handed_over)


def encodable(estimator: Any, training_state: bool) -> tuple[dict[str, Any], ObjectEncoder]:
    """Return the content of a file, and an encoder for it."""
    if not isinstance(estimator, SavedEstimator):
        raise TypeError(
            f"save() got {type(estimator).__name__}; expected an estimator of sktorch. Save a "
            "pipeline or a search that holds one with skops.io.dump."
        )
    names = Names(KNOWN)
    content = {
        "versions": {"torch": str(torch.__version__)},
        "parts": dict(_parts(estimator, names)),
        "estimator": estimator,
    }
    unnamed = ("estimator", "net_", "_modules", "_parameters", "_buffers")
    return content, ObjectEncoder(names, adapters_of(training_state), unnamed)


def decoded(
    source: Any, tree: Any, tensors: dict[str, Tensor], trusted: Mapping[str, Any]
) -> SavedEstimator:
    """Return the estimator of the JSON and the tensors of a file; ``source`` is for errors."""
    names = Names(KNOWN, trusted)
    if unknown := sorted({name for name in names_in(tree) if not names.knows(name)}):
        raise Untrusted(_what_to_do(source, unknown, _checked_parts(tree)))
    with archive.damage_is_told(source):
        estimator = ObjectDecoder(tensors, names, adapters_of(True)).decode(tree["estimator"])
        if not isinstance(estimator, SavedEstimator):
            raise BadTree(f"it holds a {type(estimator).__name__}")
        return estimator


def _with_remedy(estimator: Any, error: NotPlain) -> NotPlain:
    """Return the error for a parameter that has no place in a file, if it is one; or the error."""
    path = str(error).partition(" ")[0].split(".")
    parameter = path[0]
    value = estimator.get_params(deep=False).get(parameter)
    if value is None or parameter in ("module", "criterion", "optimizer"):
        return error
    members = value if isinstance(value, list | tuple) else [value]
    held = ", ".join(type(member).__name__ for member in members)
    what = f"The parameter {parameter}, a {type(value).__name__} of {held}, has no place in a file"
    if parameter == "validation":
        return NotPlain(
            f"{what}. Pass NumPy arrays, or call set_params(validation=None) before saving."
        )
    return NotPlain(f"{what}: {error} Call set_params({parameter}=...) before saving.")


def _parts(estimator: Any, names: Names) -> Iterator[tuple[str, str]]:
    """Yield the parameters whose classes or functions have to be handed over, and their names."""
    for parameter, value in estimator.get_params(deep=False).items():
        value = type(value) if isinstance(value, nn.Module) else value
        if is_named(value):
            name = names.name_of(value)
            if not names.knows(name):
                yield parameter, name


def _checked_parts(tree: Any) -> dict[str, str]:
    """Return the parameters, and names of their values, that a file wants handed over."""
    parts = tree.get("parts") if isinstance(tree, dict) else None
    return {k: v for k, v in (parts if isinstance(parts, dict) else {}).items() if type(v) is str}


def _handed_over(source: Any, tree: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was handed over for parameters, by the names that it had when it was saved."""
    parts = _checked_parts(tree)
    if unknown := sorted(given.keys() - parts.keys()):
        wanted = f"only {', '.join(parts)}" if parts else "nothing"
        raise ValueError(
            f"load() was given {', '.join(unknown)}, but {source} wants {wanted} handed over. "
            "Leave it out, or change the parameter of the loaded estimator with set_params."
        )
    return {parts[parameter]: value for parameter, value in given.items()}


def _what_to_do(source: Any, names: list[str], parts: Mapping[str, str]) -> str:
    by_part = {name: part for part, name in parts.items()}
    given = [f"{by_part[name]}=..." for name in names if name in by_part]
    local = [name for name in names if "<" in name]  # No import leads to what a function made.
    wanted = [f"{by_part[name]}=..." for name in local if name in by_part]
    others = [name for name in names if name not in local]
    needs = f"{source} needs {', '.join(names)}, which are neither sktorch's nor torch's own."
    if lost := [name for name in local if name not in by_part]:
        return (
            f"{needs} {', '.join(lost)} can't be imported: pass it itself, as in "
            "load(path, trusted=[it]) where it has that name, or move it to a module's top level "
            "and save again."
        )
    called = ", ".join([*([f"trusted={others}"] if others else []), *wanted])
    if local:
        return f"{needs} If you trust them, hand over what no import finds: load(path, {called})."
    return f"{needs} If you trust them, call load(path, {called})" + (
        f", or hand over what they are: load(path, {', '.join(given)})." if given else "."
    )
