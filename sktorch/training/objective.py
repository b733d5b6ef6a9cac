"""The loss of a batch and its gradients, as functions of tensors."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

from sktorch.data.structure import Inputs, Outputs, call_module
from sktorch.losses.adapters import LossFunction

Context = Callable[[], AbstractContextManager]
Tensors = dict[str, Tensor]


class Objective(nn.Module):
    """A module and its criterion: the forward pass from a batch to its loss and output."""

    def __init__(
        self, module: nn.Module, criterion: nn.Module, autocast: Context = nullcontext
    ) -> None:
        super().__init__()
        self.module, self.criterion, self.autocast = module, criterion, autocast
        self.loss_function = LossFunction(criterion)

    def forward(self, X: Inputs, y: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Outputs]:
        """Return the mean loss of a batch and the module's output."""
        module = self.module  # An attribute that is a module takes a while to look up.
        with self.autocast():
            output = call_module(module, X)
            return self.loss_function(output, y, weight, X=X, module=module), output


def loss_and_gradients(
    objective: Objective,
    trained: Tensors,
    fixed: Tensors,
    buffers: Tensors,
    batch: Iterable,
    *,
    backward: Context = nullcontext,
    clip_norm: float | None = None,
    masks: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, Tensors]:
    """Return the loss of a batch and the clipped gradients of the trained parameters.

    This is `sktorch.training.loop.TrainStep` up to the optimizer, as a pure function of tensors
    that `torch.func` can batch; the two differ in how they differentiate. `backward()` runs hooks,
    makes sparse gradients, adds up over batches, and is faster for one model. Only buffers are
    written to, where the module does. Gradients are multiplied by masks before their norm is taken.
    """

    # Buffers are arguments of what is differentiated: only then may it write to them.
    def loss_of(trained: Tensors, fixed: Tensors, buffers: Tensors) -> Tensor:
        return functional_call(objective, (trained, fixed, buffers), (*batch,))[0]

    with backward():
        gradients, loss = grad_and_value(loss_of)(trained, fixed, buffers)
    if masks:
        gradients |= {name: gradients[name] * mask for name, mask in masks.items()}
    if clip_norm is not None:
        of_module = {name: g for name, g in gradients.items() if name.startswith("module.")}
        # torch.func can't batch the foreach operations that are the default on a GPU.
        factor = clip_factor(of_module.values(), clip_norm, foreach=False)
        # Not in place: autograd hands out one tensor for two parameters with the same gradient.
        gradients |= {name: gradient * factor for name, gradient in of_module.items()}
    return loss.detach(), gradients


def clip_factor(
    gradients: Iterable[Tensor], max_norm: float, *, foreach: bool | None = None
) -> Tensor:
    """Return the factor by which `torch.nn.utils.clip_grad_norm_` scales these gradients."""
    norm = nn.utils.get_total_norm(gradients, foreach=foreach)
    return (max_norm / (norm + 1e-6)).clamp(max=1.0)
