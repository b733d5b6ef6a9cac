"""Operations written as TorchScript run as they do in Python, and programs are freed."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch
from torch import fx

from sktorch.recording import torchscript
from sktorch.recording.torchscript import Source, Variable, call, expression, looped

ATEN = torch.ops.aten


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, "1"),
        (2.5, "2.5"),
        (True, "True"),
        (None, "None"),
        ("mean", "'mean'"),
        (float("inf"), "float('inf')"),
        (float("-inf"), "float('-inf')"),
        (float("nan"), "float('nan')"),
        ([1, [2.0, None]], "[1, [2.0, None]]"),
        (fx.immutable_collections.immutable_list([True, False]), "[True, False]"),
        (torch.float32, "torch.float32"),
        (torch.strided, "torch.strided"),
        (torch.channels_last, "torch.channels_last"),
        (torch.device("cpu"), "torch.device('cpu')"),
        (Variable("rate", "float"), "rate"),
        (fx.Graph().placeholder("x"), "x"),
    ],
)
def test_arguments_are_written(value, expected):
    assert expression(value) == expected


def test_a_call_names_the_operation_and_its_arguments():
    x = Variable("x", "Tensor")
    assert call(ATEN.sum.dim_IntList, [x, [0]], {"keepdim": True}) == (
        "torch.ops.aten.sum(x, [0], keepdim=True)"
    )
    assert x.declaration() == "x: Tensor"


DOUBLED = Source(("x", "rate: float"), ("y = torch.ops.aten.mul(x, rate)",), ("y",))


def test_a_program_runs():
    (product,) = DOUBLED.compiled()(torch.ones(2), 0.5)
    assert product.tolist() == [0.5, 0.5]
    assert DOUBLED.compiled() is replace(DOUBLED).compiled()


def test_what_can_not_be_compiled_is_refused():
    with pytest.raises(RuntimeError):
        Source(("x",), ("y = torch.ops.aten.no_such_operation(x)",), ("y",)).compiled()


def test_steps_and_updates_follow_each_other_in_a_loop():
    # The gradient of (w * x - y)² / 2 by hand, and a step of gradient descent.
    lines = ("e = torch.ops.aten.sub(torch.ops.aten.mul(w, x), y)",)
    gradient = ("torch.ops.aten.sum(torch.ops.aten.mul(e, x), [0], True, out=g)",)
    step = Source(("w", "g", "x", "y", "one"), lines + gradient, ("z",))
    step = replace(step, lines=(*step.lines, "z = torch.ops.aten.add(e.sum(), one)"))
    update = Source(("g_: Tensor", "w_: Tensor", "rate: float"), ("w_.sub_(g_, alpha=rate)",))
    run = looped(step, slice(2, 4), update)
    gather = looped(step, slice(2, 4), update, gathered=True)
    w, g, one = torch.zeros(1), torch.zeros(1), torch.ones(())
    x, y = torch.arange(6.0), torch.linspace(0, 1, 6)
    losses = run(w, g, x.view(3, 2), y.view(3, 2), one, g, w, 0.01)

    expected, own = [], torch.zeros(1)
    for xs, ys in zip(x.split(2), y.split(2), strict=True):
        e = own * xs - ys
        expected.append((e.sum() + 1).item())
        own -= 0.01 * (e * xs).sum()
    assert losses.tolist() == pytest.approx(expected)
    assert w.item() == pytest.approx(own.item())

    again, turned = torch.zeros(1), torch.tensor([1, 0])
    losses = gather(again, g, x.view(3, 2), y.view(3, 2), one, g, again, 0.01, turned)
    assert losses.tolist() == pytest.approx(expected), "sums of other orders"
    assert again.item() == pytest.approx(own.item())


def test_programs_are_freed():
    n_kept = len(torch.jit._state._python_cu.get_functions())
    alive = []
    for number in range(3 * torchscript.MAX_PROGRAMS):
        program = Source(("x",), (f"y = torch.ops.aten.add(x, {number})",), ("y",)).compiled()
        alive.append(weakref.ref(program))
    del program
    gc.collect()
    assert sum(ref() is not None for ref in alive) <= torchscript.MAX_PROGRAMS
    assert len(torch.jit._state._python_cu.get_functions()) == n_kept
