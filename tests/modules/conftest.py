"""What the tests of modules share: a hand-written loop, and many models at once."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state


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
            losses.append(float(loss))
        return losses[0], losses[-1]

    return train


@pytest.fixture
def assert_stacks():
    """``check(make, *inputs)``: three models under vmap give the outputs of each, and its buffers.

    Each model has inputs of its own.
    """

    def check(make, *inputs):
        models = [make() for _ in range(3)]
        parameters, buffers = stack_module_state(models)

        def outputs(parameters, buffers, *inputs):
            return functional_call(models[0], (parameters, buffers), inputs)

        each_its_own = [torch.stack([x.roll(shift, dims=0) for shift in range(3)]) for x in inputs]
        together = torch.vmap(outputs)(parameters, buffers, *each_its_own)
        alone = [model(*own) for model, *own in zip(models, *each_its_own, strict=True)]
        torch.testing.assert_close(together, torch.stack(alone), rtol=1e-4, atol=1e-5)
        for name, buffer in buffers.items():
            expected = torch.stack([model.get_buffer(name) for model in models])
            torch.testing.assert_close(buffer, expected, rtol=1e-4, atol=1e-5)

    return check
