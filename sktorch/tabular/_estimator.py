"""What both estimators share: from a raw table to trained members, and to their outputs."""

import copy
import math
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sktorch._device import current_device, resolve_device, training_device
from sktorch._private.notebooks import ShownWithDetails
from sktorch._seed import resolve_seed
from sktorch.inspection._html import details_html
from sktorch.modules import rank_knots
from sktorch.persistence.estimators import SavedEstimator
from sktorch.preprocessing import TableCleaner, check_table, fit_transform_weighted
from sktorch.tabular._folds import held_out_by
from sktorch.tabular._net import TabularNet, frequencies_for
from sktorch.tabular._tasks import Task
from sktorch.tabular._training import Plan, Table, train_members
from sktorch.training.cpu import subnormals_flushed, threads_for
from sktorch.training.randomness import RandomStream, leaves_generators_as_found

# Categories of a column up to here become columns of 0 and 1; more are embedded.
MAX_ONE_HOT = 50
# Small tables are gone through more often: fewer steps than this are too few whatever they hold.
MIN_STEPS, MIN_EPOCHS, MAX_EPOCHS = 1000, 20, 200
# Rows of a batch, for tables of more rows than this.
BATCH_SIZES = {0: 128, 50_000: 256, 200_000: 512}
ROWS_AT_ONCE = 8192


class TabularEstimator(SavedEstimator, ShownWithDetails):
    """Base of the estimators for raw tables."""

    _details_html = details_html

    @property
    def n_epochs_(self) -> int:
        """Number of epochs trained."""
        return len(self.history_)

    @leaves_generators_as_found
    def _train(self, X: Any, y: np.ndarray, weights: np.ndarray | None, task: Task) -> np.ndarray:
        """Train on a checked table and encoded targets; return outputs for held-out rows."""
        device, seed = training_device(self.device), resolve_seed(self.random_state)
        cleaner = TableCleaner(
            categorical_features=self.categorical_features,
            outliers="smooth",
            max_one_hot=MAX_ONE_HOT,
        )
        # With weights, even of one, a row of weight 2 counts as two rows do.
        counts = np.ones(len(y)) if weights is None else weights
        columns = as_array(fit_transform_weighted(cleaner, X, counts))
        members = held_out_by(columns, y, self.n_members, seed)
        stream = RandomStream(seed, device)
        with torch.inference_mode(False), torch.enable_grad(), current_device(device):
            numeric = _numeric_columns(columns, cleaner.cardinalities_)
            net = stream.run_in_torch(
                TabularNet,
                cleaner.cardinalities_,
                numeric,
                rank_knots(columns[:, numeric]),
                task.n_outputs,
                self.n_members,
                tuple(self.hidden),
                self.feature_dropout,
                frequencies_for(len(y), len(numeric)),
            )
            plan = self._plan(len(y))
            # Of one batch double precision costs little, and a row of weight 2 is then two rows.
            is_double = len(y) <= plan.batch_size and device.type != "mps"
            floats: dict[str, Any] = {
                "dtype": torch.float64 if is_double else torch.float32,
                "device": device,
            }
            net.to(**floats)
            table = Table(
                torch.as_tensor(columns, **floats),
                torch.as_tensor(y, **floats),
                None if weights is None else torch.as_tensor(weights / weights.mean(), **floats),
                torch.as_tensor(members, device=device),
            )
            work = sum(p.numel() for p in net.parameters()) * plan.batch_size
            with threads_for(work), subnormals_flushed():
                history, outputs = train_members(net, task, table, plan, stream)
        self.cleaner_, self.history_ = cleaner, history
        self.module_ = _ready(net, device)
        return outputs.cpu().numpy()

    def _plan(self, n_rows: int) -> Plan:
        size = self.batch_size
        if size == "auto":
            size = max(size for least, size in BATCH_SIZES.items() if n_rows > least)
        n_epochs = self.max_epochs
        if n_epochs == "auto":
            n_epochs = math.ceil(MIN_STEPS / max(n_rows // size, 1))
            n_epochs = min(max(n_epochs, MIN_EPOCHS), MAX_EPOCHS)
        return Plan(
            int(n_epochs),
            int(size),
            self.lr,
            self.weight_decay,
            self.time_limit,
            _print if self.verbose else None,
        )

    def _outputs(self, X: Any) -> Tensor:
        """Return all members' outputs for a table, (n_rows, n_members, n_outputs)."""
        check_is_fitted(self)
        X = check_table(self, X, reset=False)
        columns = torch.as_tensor(as_array(self.cleaner_.transform(X)))
        like = next(self.module_.parameters())
        with torch.no_grad(), subnormals_flushed():
            return torch.cat(
                [self.module_(part.to(like)).double().cpu() for part in columns.split(ROWS_AT_ONCE)]
            )

    def __getstate__(self) -> dict[str, Any]:
        """Return the state as a machine without the device can read it."""
        state = {**super().__getstate__()}
        if "module_" in state and next(self.module_.parameters()).device.type != "cpu":
            state["module_"] = copy.deepcopy(self.module_).cpu()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "module_" in state:
            with suppress(ValueError):  # This machine may not have the device.
                _ready(self.module_, resolve_device(self.device))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags


def _ready(net: TabularNet, device: torch.device) -> TabularNet:
    """Return a trained net where, and in the precision in which, it predicts."""
    # In double precision a row's prediction does not depend on the rows beside it.
    return net.to(device, torch.float32 if device.type == "mps" else torch.float64)


def with_weight(X: Any, y: np.ndarray, weights: np.ndarray | None) -> tuple:
    """Return a table, targets and weights without the rows of weight zero."""
    if weights is None or weights.all():
        return X, y, weights
    mask = weights > 0
    rows = X.filter(mask) if type(X).__module__.startswith("polars") else X[mask]
    return rows, y[mask], weights[mask]


def as_array(table: Any) -> np.ndarray:
    """Return a cleaned table as an array of floats."""
    if hasattr(table, "iloc"):
        table = table.astype(np.float32)  # Categories are codes.
    return np.require(table, np.float32, "W")  # torch warns of an array that pandas protects.


def _numeric_columns(columns: np.ndarray, cardinalities: tuple[int, ...]) -> list[int]:
    """Return the positions of numbers that have other values than 0 and 1."""
    is_numeric = ((columns != 0) & (columns != 1)).any(axis=0)
    return [j for j in np.flatnonzero(is_numeric).tolist() if not cardinalities[j]]


def _print(row: dict[str, Any]) -> None:
    print("  ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
