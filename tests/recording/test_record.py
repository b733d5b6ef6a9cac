"""A recording computes what the function computes, for other inputs, too."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from sktorch.recording.record import NotRecordable, record


def tensors(seed, *sizes):
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(seed))


def into_place(x, total):
    total.add_(x.sum())
    return {"double": x * 2, "parts": x.split(1)}


def with_constant(x, y):
    return x + torch.arange(3.0), x.view(3, -1).expand(3, 2)[:, 0], y


@pytest.mark.parametrize(
    ("function", "sizes"),
    [
        (lambda x, y: x @ y, [(2, 3), (3, 4)]),
        (vmap(grad(lambda w, x: (x @ w).relu().sum())), [(5, 3), (5, 4, 3)]),
        (lambda x, y: torch.max(x + y, dim=0), [(2, 3), (2, 3)]),
        (with_constant, [(3,), (1,)]),
    ],
)
def test_a_replay_is_the_function(function, sizes):
    first = [tensors(number, *size) for number, size in enumerate(sizes)]
    other = [tensors(number + 9, *size) for number, size in enumerate(sizes)]
    recording, value = record(function, torch.Generator(), *first)
    torch.testing.assert_close(list(value), list(function(*first)))
    expected = function(*[x.clone() for x in other])
    torch.testing.assert_close(
        list(recording(torch.Generator(), *[x.detach() for x in other])), list(expected)
    )
    assert not recording.random


def test_inputs_are_written_to():
    recording, _ = record(into_place, torch.Generator(), tensors(0, 3), torch.zeros(()))
    total, x = torch.zeros(()), tensors(1, 3)
    value = recording(torch.Generator(), x, total)
    torch.testing.assert_close(total, x.sum())
    torch.testing.assert_close(value, {"double": x * 2, "parts": x.split(1)})


def test_random_numbers_come_from_the_generator():
    layer = nn.Dropout(0.5)
    step = vmap(lambda x: functional_call(layer, {}, (x,)), randomness="different")
    before = torch.get_rng_state()
    generator = torch.Generator().manual_seed(0)
    recording, value = record(step, generator, torch.ones(3, 50))
    assert recording.random
    again = recording(torch.Generator().manual_seed(0), torch.ones(3, 50))
    torch.testing.assert_close(again, value)
    assert not torch.equal(recording(generator, torch.ones(3, 50)), value)
    assert not torch.equal(value[0], value[1])
    assert torch.equal(torch.get_rng_state(), before)


def test_what_draws_from_no_generator_is_refused():
    with pytest.raises(NotRecordable, match="draws from no given generator"):
        record(lambda x: torch.native_dropout(x, 0.5, True)[0], torch.Generator(), torch.ones(3))
