"""Operations written as TorchScript run as they do in Python, and programs are freed."""

import gc
import weakref

import pytest
import torch
from torch import fx

from sktorch.recording import torchscript
from sktorch.recording.torchscript import Variable, call, compiled, expression, source_of

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


def test_a_program_runs():
    source = source_of(["x", "rate: float"], ["y = torch.ops.aten.mul(x, rate)", "return (y,)"])
    (product,) = compiled(source)(torch.ones(2), 0.5)
    assert product.tolist() == [0.5, 0.5]
    assert compiled(source) is compiled(source)


def test_what_can_not_be_compiled_is_refused():
    with pytest.raises(RuntimeError):
        compiled(source_of(["x"], ["return torch.ops.aten.no_such_operation(x)"]))


def test_programs_are_freed(monkeypatch):
    n_kept = len(torch.jit._state._python_cu.get_functions())
    alive = []
    for number in range(3 * torchscript.MAX_PROGRAMS):
        program = compiled(source_of(["x"], [f"return torch.ops.aten.add(x, {number})"]))
        alive.append(weakref.ref(program))
    del program
    gc.collect()
    assert sum(ref() is not None for ref in alive) <= torchscript.MAX_PROGRAMS
    assert len(torch.jit._state._python_cu.get_functions()) == n_kept
