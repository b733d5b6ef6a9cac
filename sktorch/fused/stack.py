"""Models of one structure as one: parameters, buffers and optimizer states stacked.

Stacking copies, and unstacking copies back: a few microseconds a model, against a hundred for each
of its batches. In return every module and optimizer owns its tensors whenever somebody looks.
"""

import copy
from collections.abc import Hashable, Iterable, Sequence
from itertools import chain, groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sktorch._private.torch import (
    mark_stepped,
    optimizer_has_hooks,
    version,
    wrapped_by_schedule,
)
from sktorch.fused.padding import Shapes, corner, padding_mask, stack_into, stacked
from sktorch.training.fingerprint import NotStackable, fingerprint
from sktorch.training.objective import Objective

# Their updates are elementwise: what they do to a stack, they do to each of its models.
ELEMENTWISE = {
    getattr(torch.optim, name)
    for name in (
        "SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam",
        "ASGD", "Rprop",
    )
}  # fmt: skip
# Optimizer-state entries that are one scalar per model, not one value per element.
_COUNTERS = {"step", "mu_product", "eta", "mu"}

# Consecutive models of a stack, the name of a parameter, and their slice of the stacked one.
_Run = tuple[list[int], str, Tensor]
# Each model's tensors by name.
_Models = list[dict[str, Tensor]]


def skeleton(objective: Objective) -> Objective:
    """Return a copy without memory for parameters and buffers, to be called with a stack's."""
    copies: dict[int, Any] = {}
    for parameter in objective.parameters():
        copies[id(parameter)] = nn.Parameter(parameter.to("meta"), parameter.requires_grad)
    for buffer in objective.buffers():
        copies[id(buffer)] = buffer.to("meta")
    return copy.deepcopy(objective, copies)


class Stack:
    """Parameters and buffers of several objectives, and an optimizer that steps them all.

    The dicts `trained`, `fixed` and `buffers` map names to tensors that are stacked along a new
    first dimension; `gradients` has those of the trained ones, where the optimizer reads them.
    Optimizers with the same settings share a parameter group if they are neighbours; without
    settings each has groups of its own, whose settings can change. Rows beyond the objectives are
    like the first one. `steps` keeps what is made to step the stack for as long as it is used.

    Models of several sizes are padded to `shapes`. Where a tensor has padding, `masks` has zeros
    there and ones elsewhere.
    """

    def __init__(
        self,
        objectives: list[Objective],
        optimizers: list[Optimizer] | None = None,
        settings: Sequence[Hashable] | None = None,
        width: int | None = None,
        shapes: Shapes | None = None,
    ) -> None:
        self._optimizers = optimizers or []
        self.width = width or len(objectives)
        self.steps: dict = {}
        self._seen: list | None = None
        self._parameters: _Models = [dict(o.named_parameters()) for o in objectives]
        self._buffers: _Models = [dict(o.named_buffers()) for o in objectives]
        stepped = _stepped(self._parameters[0], optimizers[0]) if optimizers else set()
        parameters = _stacked(self._parameters, self.width, shapes)
        self.trained = {name: parameters.pop(name) for name in [*parameters] if name in stepped}
        self.fixed, self.buffers = parameters, _stacked(self._buffers, self.width, shapes)
        self._shapes = shapes
        self.masks = self._masks() if self.is_padded else {}
        self.gradients = {name: torch.empty_like(tensor) for name, tensor in self.trained.items()}
        self._runs: list[_Run] = []
        self.optimizer: Any = None
        if optimizers:
            keys = range(len(optimizers)) if settings is None else settings
            runs = groupby(range(len(keys)), keys.__getitem__)
            self.optimizer = self._stacked_optimizer([*models] for _, models in runs)

    def _stacked_optimizer(self, runs: Iterable[list[int]]) -> Optimizer:
        """Return an optimizer of the same class; the models of a run share a group."""
        groups = []
        for models in runs:
            rows = slice(models[0], models[-1] + 1)
            names = {id(p): name for name, p in self._parameters[rows.start].items()}
            for group in self._optimizers[rows.start].param_groups:
                of_group = [names[id(p)] for p in group["params"] if id(p) in names]
                trained = [name for name in of_group if name in self.trained]
                slices = [self.trained[name][rows] for name in trained]
                groups.append(_settings(group) | {"params": slices})
                self._runs += zip([models] * len(trained), trained, slices, strict=True)
        kind: Any = type(self._optimizers[0])
        optimizer = kind(groups)
        for models, name, piece in self._runs:
            states = [self._state(model, name) for model in models]
            if states[0]:
                optimizer.state[piece] = {
                    key: _joined(key, [state[key] for state in states], piece.shape[1:])
                    for key in states[0]
                }
        return optimizer

    @property
    def is_padded(self) -> bool:
        """Say whether models of several sizes are padded to common ones."""
        return self._shapes is not None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Return all parameters and buffers by name."""
        return self.trained | self.fixed | self.buffers

    def perturbed(self) -> _Models:
        """Return each model's parameters with noise: zeros would hide what they multiply."""
        return [
            {name: p.detach() + 0.1 * torch.randn_like(p) for name, p in own.items()}
            for own in self._parameters
        ]

    def stacked_parameters(self, models: _Models) -> dict[str, Tensor]:
        """Return parameters of the models as the stack has its own."""
        return _stacked(models, self.width, self._shapes)

    def _masks(self) -> dict[str, Tensor]:
        masks = {}
        for name, tensor in (self.trained | self.buffers).items():
            owners = self._parameters if name in self.trained else self._buffers
            mask = padding_mask(tensor, (own[name].shape for own in owners))
            if mask is not None:
                masks[name] = mask
        return masks

    def renew_settings(self) -> None:
        """Take over the settings of the models' own optimizers, which a schedule has changed."""
        groups = chain.from_iterable(own.param_groups for own in self._optimizers)
        for group, own in zip(self.optimizer.param_groups, groups, strict=True):
            group.update(_settings(own))

    def renew(self) -> bool:
        """Take over the models' values; return False if they or their optimizers are others.

        Values are copied anew, those of the optimizers as well: neither writing to `parameter.data`
        nor TorchScript, by which a model steps alone, leaves a trace.
        """
        if self._seen is None or self._seen != self._look():
            return False
        with torch.no_grad():
            _stack_into(self.trained | self.fixed, self._parameters)
            _stack_into(self.buffers, self._buffers)
            return all(self._renew_state(*run) for run in self._runs)

    def _renew_state(self, models: list[int], name: str, piece: Tensor) -> bool:
        """Take over an optimizer's state of a parameter; return False if its counters differ."""
        states = [self._state(model, name) for model in models]
        for key, value in self.optimizer.state.get(piece, {}).items():
            own = [state[key] for state in states]
            if _is_stacked(key, value):
                stack_into(value, own)
            elif {*map(_number, own)} != {_number(value)}:
                return False
        return True

    def _look(self) -> list:
        """Return what shows a change: tensors count how often they were written to."""
        seen: list = [id(t) for own in (*self._parameters, *self._buffers) for t in own.values()]
        for optimizer in self._optimizers:
            entries: Iterable[dict] = chain(optimizer.state.values(), optimizer.param_groups)
            values = [v for entry in entries for key, v in entry.items() if key != "params"]
            seen += [(id(v), version(v)) if isinstance(v, Tensor) else v for v in values]
        return seen

    def _state(self, model: int, name: str) -> dict[str, Any]:
        return self._optimizers[model].state.get(self._parameters[model][name], {})

    def use_gradients(self, without: Iterable[str] = ()) -> None:
        """Hand the optimizer all gradients but those of parameters that have none."""
        for models, name, piece in self._runs:
            rows = slice(models[0], models[-1] + 1)
            piece.grad = None if name in without else self.gradients[name][rows]

    @torch.no_grad()
    def unstack(self) -> None:
        """Copy everything back to where it came from."""
        for name, rows in (self.trained | self.buffers).items():
            owners = self._parameters if name in self.trained else self._buffers
            for own, new in zip(owners, rows[: len(owners)].unbind(), strict=True):
                own[name].copy_(corner(new, own[name].shape))
        if self.optimizer is None:
            return
        for optimizer in self._optimizers:
            mark_stepped(optimizer)
        for models, name, piece in self._runs:
            for key, value in self.optimizer.state.get(piece, {}).items():
                for place, model in enumerate(models):
                    parameter = self._parameters[model][name]
                    own = self._optimizers[model].state[parameter]
                    new = value
                    if _is_stacked(key, value):
                        new = corner(value[place], parameter.shape)
                    if isinstance(own.get(key), Tensor) and own[key].shape == new.shape:
                        own[key].copy_(new)
                    else:
                        # A deep copy of a slice would keep the storage of the whole stack.
                        own[key] = new.clone() if isinstance(new, Tensor) else new
        self._seen = self._look()


def _stepped(parameters: dict[str, Tensor], optimizer: Optimizer) -> set[str]:
    """Return the names of the parameters that an optimizer steps."""
    stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return {name for name, p in parameters.items() if id(p) in stepped and p.requires_grad}


def _stacked(models: _Models, width: int, shapes: Shapes | None) -> dict[str, Tensor]:
    rows = models + models[:1] * (width - len(models))
    to = dict(shapes or ((name, tensor.shape) for name, tensor in models[0].items()))
    return {name: stacked([own[name].detach() for own in rows], to[name]) for name in models[0]}


def _stack_into(tensors: dict[str, Tensor], models: _Models) -> None:
    for name, tensor in tensors.items():
        stack_into(tensor, [own[name] for own in models])


def _is_stacked(key: str, value: object) -> bool:
    return key not in _COUNTERS and isinstance(value, Tensor)


def _joined(key: str, values: list, shape: torch.Size) -> Any:
    if _is_stacked(key, values[0]):
        return stacked(values, shape)
    return copy.deepcopy(values[0])


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key not in ("params", "param_names")}


def settings_of(optimizer: Optimizer) -> tuple:
    """Return what models have in common to share a parameter group: settings, and steps done."""
    numbers: list = []
    for group in optimizer.param_groups:
        numbers += [(key, _number(value)) for key, value in _settings(group).items()]
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            numbers += [(k, _number(v)) for k, v in state.items() if not _is_stacked(k, v)]
            numbers.append(len(state))
    return tuple(numbers)


def _number(value: object) -> Hashable:
    return value.item() if isinstance(value, Tensor) else fingerprint(value)


def stackable_settings(optimizer: Optimizer) -> tuple:
    """Return `settings_of` an optimizer that can step a stack; raise `NotStackable` if it can't."""
    name = type(optimizer).__name__
    if type(optimizer) not in ELEMENTWISE:
        raise NotStackable(f"{name} is not known to update element by element")
    replaced = "zero_grad" in vars(optimizer) or (
        "step" in vars(optimizer) and not wrapped_by_schedule(optimizer.step)
    )
    if optimizer_has_hooks(optimizer) or replaced:
        raise NotStackable(f"the {name} has hooks or replaced methods")
    try:
        return settings_of(optimizer)
    except NotStackable as error:
        raise NotStackable(f"a setting of the {name} can't be compared: {error}") from error
