"""Rewritten graphs compute what the graphs as recorded compute."""

import pytest
import torch
from torch import fx

from sktorch.recording.lower import lower
from sktorch.recording.record import record
from sktorch.recording.torchscript import Source

ATEN = torch.ops.aten
GENERATOR = torch.Generator()


def factors(n_rows, n_columns):
    generator = torch.Generator().manual_seed(n_rows)
    return [torch.randn(2, 50, n, generator=generator) for n in (n_rows, n_columns)]


def transposed_product(x, y):
    return [torch.bmm(x.mT, y)]


def graph_of_product(x, y):
    """The graph of `transposed_product`."""
    graph = fx.Graph()
    graph.placeholder("generator")
    left, right = graph.placeholder("x"), graph.placeholder("y")
    transposed = graph.call_function(ATEN.transpose.int, (left, 1, 2))
    product = graph.call_function(ATEN.bmm.default, (transposed, right))
    for node, value in zip((left, right, transposed), (x, y, x.mT), strict=True):
        node.meta["value"] = value
    product.meta["value"] = torch.bmm(x.mT, y)
    graph.output([product])
    return graph


def refuses(*args):
    raise RuntimeError("TorchScript can't express it")


@pytest.mark.parametrize(
    ("has_generator", "compiles", "in_torchscript"),
    [(False, True, True), (False, False, False), (True, True, False)],
)
def test_a_program_computes_what_the_graph_computes(
    has_generator, compiles, in_torchscript, monkeypatch
):
    if not compiles:
        monkeypatch.setattr(Source, "compiled", refuses)
    inputs = factors(8, 3)
    program = lower(graph_of_product(*inputs), {}, inputs, has_generator)
    assert (program.source is not None) == in_torchscript
    assert torch.equal(program.run(GENERATOR, *inputs)[0], transposed_product(*inputs)[0])


def several(x, y):
    values, indices = torch.max(x, dim=1)
    parts = (values * 2.5).split(1)
    return parts[0] + torch.full_like(parts[1], float("-inf")), indices, y.to(torch.float64)


def test_results_of_several_parts_infinities_and_dtypes_are_expressed():
    inputs = factors(4, 3)
    recording, _ = record(several, GENERATOR, *inputs)
    assert recording.replayed_by == "TorchScript"
    for replayed, expected in zip(recording(GENERATOR, *inputs), several(*inputs), strict=True):
        assert torch.equal(replayed, expected)


def test_constants_are_held():
    constant = torch.arange(3.0)
    recording, _ = record(lambda x: x + constant, GENERATOR, torch.zeros(3))
    assert recording.replayed_by == "TorchScript"
    assert torch.equal(recording(GENERATOR, torch.ones(3)), constant + 1)
