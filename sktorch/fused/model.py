"""One model among many, and what was found out about it for its further epochs."""

from collections.abc import Callable, Hashable
from typing import Any

import torch

from sktorch.training.engine import Engine
from sktorch.training.fingerprint import Snapshot, fingerprint
from sktorch.training.loop import set_mode
from sktorch.training.objective import Objective
from sktorch.training.optimizers import is_of_torch
from sktorch.training.randomness import drawing_nothing, never_draws, numpy_and_python_state
from sktorch.training.runner import Trainee


class Model:
    """A net, the engine that trains it alone, and what was found out about it.

    Between two epochs anybody may change the net: callbacks, scorers, the module's own `train`.
    What was found out holds only while a snapshot of the net does.
    """

    def __init__(self, net: Trainee, engine: Engine) -> None:
        self.net, self.engine = net, engine
        self.mixes_rows = False  # until a trial shows that it computes a row from others, too
        self._objective: Objective | None = None
        self._findings: dict[bool, _Findings] = {}

    @property
    def objective(self) -> Objective:
        """The loss of the net's module and criterion; the same object while these are."""
        known, net = self._objective, self.net
        if known is None or (known.module, known.criterion) != (net.module_, net.criterion_):
            autocast = self.engine.precision.autocast
            known = self._objective = Objective(net.module_, net.criterion_, autocast)
            self._findings, self.mixes_rows = {}, False
        return known

    def structure(self, training: bool) -> Hashable:
        """Return what models of one stack have in common; raise `NotStackable` if it is alone."""
        findings = self._current(training)
        if findings.structure is None:
            findings.structure = fingerprint(self.objective), self._groups_by_name(training)
        return findings.structure

    def set_mode(self, training: bool) -> None:
        """Set train or eval mode, as ``module.train()`` and ``module.eval()`` set it."""
        set_mode(self.net.module_, training=training)

    def run(self, training: bool, function: Callable, *args: Any) -> Any:
        """Call a function that draws from the model's own stream, if the model may draw.

        Streams exclude each other, so that a model of which it is known that it draws nothing does
        without. Of layers and losses that are not torch's own it is known after an epoch.
        """
        findings = self._current(training)
        if not findings.may_draw:
            return drawing_nothing(function, *args)
        result, has_drawn = self.net.stream_.run(_watched, function, *args)
        findings.may_draw = has_drawn or self.engine.device.type != "cpu"
        return result

    def _current(self, training: bool) -> "_Findings":
        objective, groups = self.objective, self._groups(training)
        findings = self._findings.get(training)
        if findings is None or findings.groups != groups or not findings.snapshot.holds():
            on_cpu = self.engine.device.type == "cpu"
            layers = [*self.net.module_.modules(), *self.net.criterion_.modules()]
            draws_nothing = all(map(never_draws, layers))
            if training:
                draws_nothing = draws_nothing and is_of_torch(self.net.optimizer_)
            may_draw = not (on_cpu and draws_nothing)
            findings = _Findings(Snapshot(objective), groups, may_draw)
            self._findings[training] = findings
        return findings

    def _groups(self, training: bool) -> list:
        """Return the optimizer's class and parameter groups."""
        if not training:
            return []
        optimizer = self.net.optimizer_
        groups = optimizer.param_groups
        return [type(optimizer), *([id(p) for p in group["params"]] for group in groups)]

    def _groups_by_name(self, training: bool) -> Hashable:
        if not training:
            return None
        names = {id(p): name for name, p in self.objective.named_parameters()}
        kind, *groups = self._groups(training)
        return kind, *(tuple(map(names.get, group)) for group in groups)


class _Findings:
    """Findings about a model in train or in eval mode, which further epochs use."""

    def __init__(self, snapshot: Snapshot, groups: list, may_draw: bool) -> None:
        self.snapshot, self.groups, self.may_draw = snapshot, groups, may_draw
        self.structure: Hashable = None


def _watched(function: Callable, *args: Any) -> tuple[Any, bool]:
    """Return what a function returns, and whether it has drawn numbers on the CPU."""
    before = torch.get_rng_state(), numpy_and_python_state()
    result = function(*args)
    same_in_torch = torch.equal(before[0], torch.get_rng_state())
    return result, not (same_in_torch and before[1] == numpy_and_python_state())
