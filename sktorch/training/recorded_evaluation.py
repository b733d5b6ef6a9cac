"""The forward pass and loss of an evaluation in a form to be recorded."""

from collections.abc import Hashable

import torch
from torch import Tensor

from sktorch.data.structure import Batch, Outputs
from sktorch.training.fingerprint import fingerprint
from sktorch.training.objective import Objective


class RecordedEvaluation:
    """The loss and output of a batch in eval mode, as a `Recordable`."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.written = [*objective.buffers()]
        self.state = [*objective.parameters(), *self.written]

    def kind(self) -> Hashable:
        """Return what evaluations have in common that one recording serves."""
        return "evaluation", fingerprint(self.objective)

    @torch.no_grad()
    def compute(self, batch: Batch) -> tuple[Tensor, Outputs]:
        """Return the loss and the output of a batch."""
        return self.objective.forward(*batch)

    run_eagerly = compute

    def finish(self, value: tuple[Tensor, Outputs]) -> tuple[Tensor, Outputs]:
        """Return the loss and the output as they are."""
        return value
