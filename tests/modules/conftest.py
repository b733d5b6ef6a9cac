"""What the tests of modules share: a hand-written loop, and many models at once."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state


@pytest.fixture
def losses_of_training():
    """``train(module, y, *inputs) -> (first, last)``, the loss before and after some full steps."""

    def train(module, y, *inputs, n_steps=15):
        optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
        losses = []
        for _ in range(n_steps):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(module(*inputs), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses[0], losses[-1]

    return train


@pytest.fixture
def assert_stacks():
    """``check(make, *inputs)``: three models trained under vmap do what each does alone.

    Outputs, gradients and buffers; each model has inputs of its own. torch has no batching rule
    for a GRU outside of ``grad``.
    """

    def check(make, *inputs):
        models = [make() for _ in range(3)]
        parameters, buffers = stack_module_state(models)

        def loss(parameters, buffers, *inputs):
            output = functional_call(models[0], (parameters, buffers), inputs)
            return output.square().sum(), output

        step = torch.vmap(grad(loss, has_aux=True))
        own_inputs = [torch.stack([x.roll(shift, dims=0) for shift in range(3)]) for x in inputs]
        gradients, outputs = step(parameters, buffers, *own_inputs)
        for number, model in enumerate(models):
            output = model(*(x[number] for x in own_inputs))
            output.square().sum().backward()
            together = {name: value[number] for name, value in (gradients | buffers).items()}
            alone = {name: value.grad for name, value in model.named_parameters()}
            alone |= dict(model.named_buffers())
            close = {"rtol": 1e-3, "atol": 1e-4}
            torch.testing.assert_close(outputs[number], output, **close)
            torch.testing.assert_close(together, alone, **close)

    return check
