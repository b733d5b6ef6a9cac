"""Checkpoints: the whole state of a training in a file, from which it goes on to the bit."""

import math
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator

from sktorch._callers import in_meta_estimator
from sktorch._device import resolve_device
from sktorch._digest import digest
from sktorch._job_state import left_out, restore_job, state_of_job
from sktorch._part import Part
from sktorch._rungs import PausedFit
from sktorch._seed import resolve_seed
from sktorch._warnings import warn_caller
from sktorch.persistence.archive import read, write

KIND = "checkpoint"
# Parameters that do not change the model, and those that are compared in another way.
_FREE = {"verbose", "checkpoint", "checkpoint_every", "warm_start"}
_START = "weights to go on from"  # with warm_start
_ADVICE = "Delete the file to begin anew, or set checkpoint to another path."
_COMPARED_APART = {"random_state", "device", "max_epochs"}


@dataclass
class Checkpoint:
    """The file of one training, with what its model follows from."""

    path: Path
    every: int
    max_epochs: int
    origin: dict[str, Any]  # the seed, and digests of data and parameters by name
    content: dict[str, Any] | None  # to go on from
    _warned: set[str] = field(default_factory=set)
    _left_out: dict[str, Any] = field(default_factory=dict)

    def resume(self, job: Any) -> int:
        """Give a job the state in the file; return how many epochs are done: all, if it is over."""
        self._left_out = left_out(job)
        content, self.content = self.content, None
        if content is None:
            return 0
        try:
            restore_job(job, content["state"])
        except (ValueError, TypeError, LookupError, RuntimeError) as error:
            raise ValueError(
                f"The checkpoint {str(self.path)!r} does not fit the estimator: {error}. {_ADVICE}"
            ) from error
        return self.max_epochs if content["is_over"] else content["n_done"]

    def save(self, job: Any, n_done: int, *, is_over: bool) -> None:
        """Write the state of a job, if it is time; warn if that fails."""
        is_due = n_done % self.every == 0 or n_done >= self.max_epochs or is_over
        if not is_due or not job.processes.is_first:
            return
        self._tell_left_out(job)
        progress = {"n_done": n_done, "is_over": is_over, "max_epochs": self.max_epochs}
        try:
            content = self.origin | progress | {"state": state_of_job(job)}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write(self.path, content, KIND)
        except (OSError, TypeError, ValueError) as error:
            self._warn_once(
                f"The checkpoint {str(self.path)!r} can't be written: {error}. Training goes on "
                "without."
            )

    def n_epochs_until(self, number: int) -> int:
        """Return how many epochs end with the next checkpoint, the first being that of a number."""
        return self.every - (number - 1) % self.every

    def _tell_left_out(self, job: Any) -> None:
        """Warn of what callbacks have made since training began, if a file can't hold it."""
        for name, value in left_out(job).items():
            if self._left_out.get(name) is not value:
                self._warn_once(
                    f"A checkpoint can't hold {name}, a {type(value).__name__}: a training that "
                    "goes on from it begins with that anew."
                )

    def _warn_once(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            warn_caller(message)


def _read(path: Path) -> dict[str, Any] | None:
    """Return the content of a file; None if there is no file."""
    try:
        return read(path, KIND)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise ValueError(f"The checkpoint can't be read: {error} {_ADVICE}") from error


def seed_of(estimator: BaseEstimator, paused: PausedFit | None, *, partial: bool) -> int:
    """Return the seed of a fit: without random_state that of the training that it goes on with."""
    stored = None if paused is None else paused.seed
    if estimator.checkpoint is not None and estimator.random_state is None and not partial:
        stored = _stored_seed(estimator.checkpoint)
    seed = resolve_seed(estimator.random_state) if stored is None else stored
    if paused is not None:
        paused.seed = seed
    return seed


def _stored_seed(path: str | os.PathLike) -> int | None:
    """Return the seed of the training in a file; None if there is no file."""
    content = None if Path(path).is_dir() else _read(Path(path))
    return None if content is None else content["seed"]


def checkpoint_of(
    estimator: BaseEstimator, data: Part, given: dict[str, Any], seed: int, resumed: Any
) -> Checkpoint:
    """Return the checkpoint of a fit: the file that is named, or one in the folder of that name.

    In a folder each fit has a file of its own. `given` holds arguments of ``fit`` by name,
    `resumed` a net whose training goes on, or None. Raise if the file is of another training.
    """
    _tell_persistent_workers(estimator, data)
    digests = digests_of(estimator, data, given, seed, resumed)
    path, max_epochs = Path(estimator.checkpoint), estimator.max_epochs
    if in_meta_estimator() or path.is_dir():
        _check_folder(estimator, path)
        path /= f"{digest([digests, max_epochs])}.checkpoint"
    _remove_torn(path)
    content = _read(path)
    if content is not None:
        differing = _differing(content["digests"], digests)
        if resumed is not None and _START in differing:
            content = None  # It goes on from its own weights.
        else:
            _check_same(path, differing + _differing_epochs(estimator, content))
            _tell_versions(content["versions"])
    origin = {"seed": seed, "digests": digests, "versions": _versions()}
    return Checkpoint(path, estimator.checkpoint_every, max_epochs, origin, content)


def digests_of(
    estimator: BaseEstimator, data: Part, given: dict[str, Any], seed: int, resumed: Any
) -> dict[str, str]:
    """Return digests of all that the model follows from, by the names that the user knows."""
    parameters = estimator.get_params(deep=False)
    compared = {name: v for name, v in parameters.items() if name not in _FREE | _COMPARED_APART}
    values = {
        "X": data.source.values,
        "y": [data.y, estimator.codec_.classes],
        **given,
        **compared,
        "random_state": seed,
        "device": resolve_device(estimator.device),
        _START: resumed and resumed.module_.state_dict(),
    }
    return {name: digest(value) for name, value in values.items()}


def _differing_epochs(estimator: BaseEstimator, content: dict[str, Any]) -> list[str]:
    """Return whether max_epochs differs, though it may be raised where nothing depends on it."""
    may_rise = estimator.lr_schedule is None and not estimator.callbacks
    lowest = content["n_done"] if may_rise else math.inf
    is_same = estimator.max_epochs == content["max_epochs"] or estimator.max_epochs >= lowest
    return [] if is_same else ["max_epochs"]


def _check_same(path: Path, differing: list[str]) -> None:
    if differing:
        raise ValueError(
            f"The checkpoint {str(path)!r} is of a training with other {' and '.join(differing)}, "
            f"and can't be continued with these. Give the same again. {_ADVICE}"
        )


def _check_folder(estimator: BaseEstimator, path: Path) -> None:
    if path.is_file():
        raise ValueError(
            f"checkpoint={str(path)!r} is a file, and this fit is one of several, which need a "
            "folder for a file each. Set checkpoint to another path."
        )
    if estimator.random_state is None:
        raise ValueError(
            f"checkpoint={str(path)!r} is a folder for several fits, which are found again by "
            "data and parameters. With random_state=None equal fits differ: set random_state."
        )


def _remove_torn(path: Path) -> None:
    """Remove the files that a process left that was killed while it wrote a checkpoint."""
    with suppress(OSError):
        for file in path.parent.iterdir():
            if file.name.startswith(f".{path.name}.") and file.name.endswith(".tmp"):
                file.unlink()


def _differing(before: dict[str, str], now: dict[str, str]) -> list[str]:
    names = dict.fromkeys([*now, *before])
    return [name for name in names if before.get(name) != now.get(name)]


def _tell_persistent_workers(estimator: BaseEstimator, data: Part) -> None:
    options = estimator._component_parameters("iterator_train")
    if options.get("persistent_workers") and data.source.runs_user_code:
        warn_caller(
            "With iterator_train__persistent_workers=True, a checkpoint can't hold what a dataset "
            "keeps in the workers, random numbers included. Leave it out if the dataset draws."
        )


def _versions() -> dict[str, str]:
    libraries = {"torch": torch, "numpy": np, "sklearn": sklearn}
    return {name: str(library.__version__) for name, library in libraries.items()}


def _tell_versions(before: dict[str, str]) -> None:
    now = _versions()
    for name in _differing(before, now):
        warn_caller(
            f"The checkpoint was written with {name} {before.get(name)}, and {now.get(name)} goes "
            "on from it: the model may differ in last bits from one of a single version."
        )
