"""Whether a stack computes what its models compute alone: the same numbers, but for rounding."""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sktorch._private.torch import tree_leaves
from sktorch.fused.epoch import EpochTask
from sktorch.fused.padding import corner
from sktorch.training.objective import Objective
from sktorch.training.step import make_step

# Differences to the model alone, relative to the largest number, that count as rounding.
TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3}
# In 16 bits sums of a batch's gradients, which cancel, were seen to differ by 0.07.
TOLERANCE_16_BIT = 0.2


class NotWorthStacking(Exception):
    """A stack is of no use; the message says why."""


class WithoutDropout(TorchFunctionMode):
    """Leaves dropout out, so that a stack can be compared with models whose masks are others."""

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is F.dropout:
            return args[0] if args else kwargs["input"]
        return function(*args, **kwargs)


class _Frozen(torch.optim.Optimizer):
    """An optimizer that leaves the parameters as they are."""

    def step(self, closure: Any = None) -> Any:
        """Do nothing."""


def step_alone(
    task: EpochTask, parameters: Mapping[str, Tensor] | None = None
) -> tuple[Callable, frozenset[str]]:
    """Return a model's own step on a copy, as a function, and the parameters without a gradient.

    It is the step that trains the model alone, but for the optimizer's part. Parameters take the
    place of those that the model has.
    """
    objective = copy.deepcopy(task.model.objective)
    for name, parameter in objective.named_parameters():
        if parameters:
            parameter.detach().copy_(parameters[name])
    if not task.training:

        @torch.no_grad()
        def evaluate(batch: list) -> tuple:
            return objective(*batch), _buffers(objective)

        return evaluate, frozenset()
    groups = task.model.net.optimizer_.param_groups
    stepped = {id(p) for group in groups for p in group["params"]}
    own = zip(objective.named_parameters(), task.model.objective.parameters(), strict=True)
    trained = {n: p for (n, p), source in own if p.requires_grad and id(source) in stepped}
    engine, frozen = task.model.engine, _Frozen([*trained.values()], {})
    train = make_step(objective, frozen, engine.precision, engine.settings.gradient_clip)

    def step(batch: Any) -> tuple:
        loss, _ = train(batch)
        gradients = {name: parameter.grad for name, parameter in trained.items()}
        return (gradients, loss), _buffers(objective)

    state = copy.deepcopy(objective.state_dict())
    (gradients, _), _ = step(task.next_batch())
    objective.load_state_dict(state)
    return step, frozenset(name for name, g in gradients.items() if g is None)


def _buffers(objective: Objective) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in objective.named_buffers()}


def check_agreement(alone: tuple, stacked: Sequence, task: EpochTask, row: int) -> None:
    """Raise if what a model computes alone is not its row of what the stack computes."""
    (value_alone, buffers_alone), (value, buffers) = alone, stacked
    pairs = [(buffers[name], b) for name, b in buffers_alone.items()]
    if task.training:
        gradients, value_alone = value_alone[0], value_alone[1:]
        pairs += [(value[0][name], g) for name, g in gradients.items() if g is not None]
        value = value[1:]
    own = [(corner(many[row], one.shape), one) for many, one in pairs]
    results = zip(tree_leaves(value), tree_leaves(value_alone), strict=True)
    own += [(many[row], one) for many, one in results]  # Padding must not reach them.
    if not all(close(*pair, tolerances_of(task)) for pair in own):
        raise NotWorthStacking("batched it computes something else")


def tolerances_of(task: EpochTask) -> dict[torch.dtype, float]:
    """Return the tolerance of each dtype: none is finer than the precision of the products."""
    return TOLERANCE if task.model.engine.precision.autocast is nullcontext else {}


def close(stacked: Tensor, alone: Tensor, tolerances: dict[torch.dtype, float]) -> bool:
    """Say whether two tensors are the same but for rounding."""
    if stacked.shape != alone.shape:
        return False
    tolerance = tolerances.get(alone.dtype, TOLERANCE_16_BIT)
    alone, stacked = alone.double(), stacked.double()
    scale = alone.abs().max() if alone.numel() else 0
    near = (stacked - alone).abs() <= tolerance * scale + 1e-7
    return bool((near | (stacked.isnan() & alone.isnan()) | (stacked == alone)).all())
