"""Train the members as one program, and keep each at the epoch that suits its held-out rows."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from sktorch.data.batches import Batches
from sktorch.tabular._net import TabularNet
from sktorch.tabular._tasks import Task
from sktorch.training.cosine_schedulers import flat_cosine
from sktorch.training.cost import Work
from sktorch.training.engine import Engine, StepSettings
from sktorch.training.parameter_groups import FACTOR
from sktorch.training.randomness import RandomStream
from sktorch.training.runner import SeededRunner

LR_FACTOR_OF_SCALE, FLAT_FRACTION = 6.0, 0.5
# Rows that members are judged by at once.
CHUNK_ROWS = 8192


@dataclass
class Table:
    """Cleaned rows on a device, their targets and weights, and who holds each of them out."""

    values: Tensor
    y: Tensor
    weights: Tensor | None
    held_out_by: Tensor
    is_whole: bool = True  # as rows that batches are cut from

    def __getitem__(self, index: Tensor) -> Tensor:
        return self.values.index_select(0, index)


@dataclass
class Plan:
    """How long to train, and how."""

    n_epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    time_limit: float | None
    report: Callable[[dict[str, Any]], object] | None = None


@dataclass
class Trainee:
    """What the engine trains."""

    module_: nn.Module
    criterion_: nn.Module
    optimizer_: torch.optim.Optimizer
    stream_: RandomStream
    work_: Work = field(default_factory=lambda: Work(1.0, 1.0))


class MembersLoss(nn.Module):
    """The members' losses together, each without the rows that it holds out.

    A target is a row's target and the number of the member that holds it out.
    """

    def __init__(self, task: Task, n_members: int, reduction: str = "mean") -> None:
        super().__init__()
        self.task, self.reduction = task, reduction
        self.register_buffer("numbers", torch.arange(n_members))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of an output (n_rows, n_members, n_outputs)."""
        y, held_out_by = target.unbind(1)
        n_members = output.shape[1]
        losses = self.task(output.flatten(0, 1), y.repeat_interleave(n_members))
        is_trained = held_out_by.unsqueeze(1) != self.numbers
        by_row = (losses.view(-1, n_members) * is_trained).sum(1)
        return by_row if self.reduction == "none" else by_row.mean()


class HeldOut:
    """The rows that each member holds out, side by side, filled up with rows of weight zero."""

    def __init__(self, table: Table, n_members: int) -> None:
        rows = [torch.nonzero(table.held_out_by == k).squeeze(1) for k in range(n_members)]
        # Of fewer distinct rows than members, those without one are judged by all rows.
        rows = [
            own if len(own) else torch.arange(len(table.values), device=own.device) for own in rows
        ]
        n_rows = max(map(len, rows))
        device = table.values.device
        self._table = table
        self.index = torch.zeros(n_rows, n_members, dtype=torch.long, device=device)
        self.weights = torch.zeros(n_rows, n_members, device=device)
        for k, own in enumerate(rows):
            self.index[: len(own), k] = own
            given = torch.ones_like(own) if table.weights is None else table.weights[own]
            self.weights[: len(own), k] = given / given.sum()
        self.targets = table.y[self.index]

    @torch.no_grad()
    def outputs(self, net: TabularNet) -> Tensor:
        """Return each member's outputs for its rows, (n_rows, n_members, n_outputs)."""
        net.eval()
        chunks = self.index.split(max(CHUNK_ROWS // self.index.shape[1], 1))
        return torch.cat([net.forward_apart(self._table.values[chunk.T]) for chunk in chunks])

    def of_rows(self, outputs: Tensor) -> Tensor:
        """Return the outputs in the order of the table's rows, (n_rows, n_outputs)."""
        counts = torch.bincount(self._table.held_out_by, minlength=self.index.shape[1])
        is_filled = torch.arange(len(self.index), device=counts.device).unsqueeze(1) < counts
        rows = outputs.new_zeros(len(self._table.values), outputs.shape[-1])
        rows[self.index[is_filled]] = outputs[is_filled]
        return rows


class BestMembers:
    """Each member as it was at its best epoch."""

    def __init__(self, net: TabularNet) -> None:
        self._net = net
        self.risks = torch.full((net.n_members,), math.inf, device=net.numeric.device)
        self._kept: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, risks: Tensor, **values: Tensor) -> None:
        """Keep the members that are better than before, and what belongs to them."""
        is_better = risks < self.risks
        self.risks = torch.where(is_better, risks, self.risks)
        state = dict(self._net.members.named_parameters()) | values
        for name, tensor in state.items():
            if name not in self._kept:
                self._kept[name] = tensor.detach().clone()
                continue
            kept = self._kept[name]
            mask = is_better.view(-1, *[1] * (tensor.ndim - 1))
            kept.copy_(torch.where(mask, tensor, kept))

    def restore(self) -> dict[str, Tensor]:
        """Load the kept members into the net; return what belongs to them."""
        parameters = dict(self._net.members.named_parameters())
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(self._kept.pop(name))
        return self._kept


def train_members(
    net: TabularNet, task: Task, table: Table, plan: Plan, stream: RandomStream
) -> tuple[list[dict[str, Any]], Tensor]:
    """Train a net; return a row for each epoch, and outputs for all rows by who holds them out."""
    trainee = Trainee(net, MembersLoss(task, net.n_members), _optimizer(net, plan), stream)
    trainee.criterion_.to(table.values.device)
    targets = torch.stack([table.y, table.held_out_by.to(table.y.dtype)], dim=1)
    index = torch.arange(len(table.values))
    batches = Batches(
        table,
        targets,
        table.weights,
        index,
        batch_size=min(plan.batch_size, len(index)),
        shuffle=True,
        drop_last=len(index) > plan.batch_size,
    )
    engine = Engine(table.values.device, StepSettings(), plan.n_epochs)
    runner = SeededRunner(engine, user_code=False)
    held_out, best = HeldOut(table, net.n_members), BestMembers(net)
    lowest_risk = math.inf
    history: list[dict[str, Any]] = []
    for lr in _learning_rates(plan):
        start = perf_counter()
        for group in trainee.optimizer_.param_groups:
            group["lr"] = lr * group[FACTOR]
        losses, sizes = runner.train(trainee, batches)
        outputs = held_out.outputs(net)
        factors = task.factors(outputs, held_out.targets, held_out.weights)
        outputs *= factors.unsqueeze(-1)
        risks = task.risks(outputs, held_out.targets, held_out.weights)
        best.update(risks, factors=factors)
        risk = float(risks.mean())
        if risk < lowest_risk:
            # The estimate for new rows is that of one epoch for all: at each member's own, chosen
            # by its few rows, these are predicted too well by chance.
            lowest_risk, estimate = risk, outputs
        loss = sum(map(math.prod, zip(losses, sizes, strict=True))) / sum(sizes)
        history.append(
            {
                "epoch": len(history) + 1,
                "train_loss": loss / (net.n_members - 1),
                "valid_risk": risk,
                "lr": lr,
                "dur": perf_counter() - start,
            }
        )
        if plan.report is not None:
            plan.report(history[-1])
    if lowest_risk == math.inf:
        raise ValueError(
            "The loss of held-out rows was not finite in any epoch. Lower lr, or look at the "
            "values of X and y."
        )
    net.scale_outputs(best.restore()["factors"])
    net.eval()
    return history, held_out.of_rows(estimate)


def _optimizer(net: TabularNet, plan: Plan) -> torch.optim.Optimizer:
    """Return AdamW: factors of features learn faster, and only weights decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        factor = LR_FACTOR_OF_SCALE if name.endswith("scale.weight") else 1.0
        decays = name.endswith("weight") and factor == 1.0
        groups.setdefault((factor, plan.weight_decay if decays else 0.0), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, FACTOR: factor, "weight_decay": weight_decay}
            for (factor, weight_decay), parameters in groups.items()
        ],
        lr=plan.lr,
        fused=True,
    )


def _learning_rates(plan: Plan) -> Iterator[float]:
    """Yield the rate of each epoch: flat for half of the way, then falling as a cosine to zero.

    What is left of the way is what is left of the epochs, or of the time, whichever is less.
    """
    start = perf_counter()
    for number in range(plan.n_epochs):
        done = number / plan.n_epochs
        if plan.time_limit is not None:
            done = max(done, (perf_counter() - start) / plan.time_limit)
        if number and done >= 1:
            return
        yield plan.lr * flat_cosine(done, FLAT_FRACTION)
