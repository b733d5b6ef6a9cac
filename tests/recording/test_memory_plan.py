"""Graphs that write to memory that is there, against the functions they were recorded from."""

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from sktorch.recording.memory_plan import reuse_memory
from sktorch.recording.record import record

GENERATOR = torch.Generator()


def elementwise(x, y):
    z = (x @ y).relu()
    return (z * 2 + x).tanh().sum(0)


def operand_is_needed_again(x, y):
    z = x @ y
    a = z + 1
    return a * z, a.exp()


def operand_is_a_view(x, y):
    z = x @ y
    return z.T + 1, z[0] * 2


def an_operand_meets_its_own_view(x, y):
    z = x @ y
    return z + z.T


def inputs_and_outputs(x, y):
    return x + 1, (x + 1) * 2, x.T, y


def normed(x, y):
    z = F.layer_norm(x @ y, (4,)).softmax(-1)
    return torch.where(z > 0.2, z, z.exp()).cumsum(0), z.argmax(1).float()


def convolved(x, y):
    z = F.conv2d(x[None, None], y[None, None, :3, :3], padding=1).relu()
    return F.max_pool2d(z, 2).flatten()


def other_shapes_and_types(x, y):
    z = x.double() @ y.double()
    return (z.float() * x).sum(1, keepdim=True) + (z > 0).float()


def writes_to_its_input(x, y):
    x.mul_(2)
    z = x @ y
    x.add_(z)
    return z + x


def in_another_shape(x, y):
    z = (x @ y)[None]
    z.squeeze_().transpose_(0, 1)
    return z * 2, (x @ y) * 3


def high_products(x, y):
    z = torch.bmm(x[None].mT, y[None, :, :3])
    seen = z.mT
    other = torch.bmm(y[None].mT, x[None, :, :3]) + 1
    return seen.exp().sum(), other.sum(), torch.bmm(seen, z) + 1


FUNCTIONS = [
    in_another_shape,
    high_products,
    elementwise,
    operand_is_needed_again,
    operand_is_a_view,
    an_operand_meets_its_own_view,
    inputs_and_outputs,
    normed,
    convolved,
    other_shapes_and_types,
    writes_to_its_input,
]


def inputs(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 4, generator=generator), torch.randn(4, 4, generator=generator)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_same_values_and_same_writes_in_every_call(function):
    recording, _ = record(function, GENERATOR, *inputs(0))
    run = recording.flat()
    kept = []
    for seed in (1, 2, 1):
        own, expected_own = inputs(seed), inputs(seed)
        expected = function(*expected_own)
        expected = expected if isinstance(expected, tuple) else (expected,)
        values = run(GENERATOR, *own)
        kept.append((values, expected))
        torch.testing.assert_close(own, expected_own)
    for values, expected in kept:  # A later call has not written to them.
        torch.testing.assert_close(tuple(values), expected)


def test_two_runs_at_once_have_memory_of_their_own():
    recording, _ = record(elementwise, GENERATOR, *inputs(0))
    runs = recording.flat(), recording.flat()
    values = [run(GENERATOR, *inputs(seed)) for seed, run in enumerate(runs)]
    for seed, (value,) in enumerate(values):
        torch.testing.assert_close(value, elementwise(*inputs(seed)))


def graph_of(*steps):
    """A graph of operations on the results before, by their numbers; 0 is the input."""
    graph = fx.Graph()
    nodes = [graph.placeholder("x")]
    nodes[0].meta["value"] = torch.zeros(3, 3)
    for operation, *numbers in steps:
        node = graph.call_function(operation, tuple(nodes[number] for number in numbers))
        node.meta["value"] = operation(*(nodes[number].meta["value"] for number in numbers))
        nodes.append(node)
    graph.output([nodes[-1]])
    return graph


ATEN = torch.ops.aten


def test_elementwise_operations_write_to_what_nobody_needs():
    graph = graph_of((ATEN.mm.default, 0, 0), (ATEN.exp.default, 1), (ATEN.mm.default, 2, 0))
    buffers = reuse_memory(graph)
    targets = [node.target for node in graph.nodes if node.op == "call_function"]
    assert targets == [ATEN.mm.out, ATEN.exp_.default, ATEN.mm.default]
    assert [buffer.shape for buffer in buffers] == [(3, 3)]


def test_buffers_serve_again():
    mm = ATEN.mm.default
    graph = graph_of((mm, 0, 0), (mm, 1, 0), (mm, 2, 0), (mm, 3, 0), (mm, 4, 0))
    assert len(reuse_memory(graph)) == 2, "one is read while the other is written"


def test_an_input_and_what_is_needed_again_are_left():
    add = ATEN.add.Tensor
    graph = graph_of((add, 0, 0), (add, 1, 1), (add, 1, 2))
    reuse_memory(graph)
    first, second, last = [node for node in graph.nodes if node.op == "call_function"]
    assert first.target is ATEN.add.out
    assert second.target is ATEN.add.out
    assert first.kwargs["out"] is not second.kwargs["out"]
    assert last.target is add, "what is returned is new"


def test_a_net_of_many_layers_takes_memory_of_its_largest_ones():
    net = nn.Sequential(*(layer for _ in range(10) for layer in (nn.Linear(4, 4), nn.ReLU())))

    def function(X):
        with torch.no_grad():
            return net(X)

    recording, _ = record(function, GENERATOR, torch.zeros(5, 4))
    assert len(recording._buffers) == 2
