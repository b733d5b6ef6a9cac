"""A simplified graph has fewer operations and computes the same bits."""

from operator import getitem

import pytest
import torch
from torch import fx, nn

from sktorch.recording.record import record
from sktorch.recording.simplify import simplify

ATEN = torch.ops.aten


def graph_of(function, *shapes):
    """The graph of a function of inputs, and the inputs."""
    recorded = []

    class Kept(fx.Graph):
        def __init__(self):
            super().__init__()
            recorded.append(self)

    inputs = [torch.randn(*shape) for shape in shapes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sktorch.recording.record.fx.Graph", Kept)
        patch.setattr("sktorch.recording.record.simplify", lambda graph: None)
        record(function, torch.Generator(), *inputs, vectorized=False, planned_memory=False)
    return recorded[0], inputs


def operations(graph):
    targets = [node.target for node in graph.nodes if node.op == "call_function"]
    return [target.overloadpacket.__name__ for target in targets if target is not getitem]


def run(graph, inputs):
    copies = [x.clone() for x in inputs]
    return [*fx.GraphModule({}, graph)(None, *copies), *copies]


def transposed_twice(x, place):
    return (x.t().t() + 1,)


def product_copied(x, place):
    place.copy_(x.t() @ x)
    return (x.sum(),)


def row_copied(x, place):
    place.copy_(x.sum(0, keepdim=True).view(3))
    return (x.sum(),)


def copied_and_used(x, place):
    product = x.t() @ x
    place.copy_(product)
    return (product.sum(),)


def added_after_a_read(x, place):
    before = place.sum()
    place.copy_(x.t() @ x)
    return (before,)


def copied_transposed(x, place):
    place.copy_((x.t() @ x).t())
    return (x.sum(),)


def scaled_afterwards(x, place):
    place.copy_(x.t() @ x)
    place.mul_(2)
    return (x.sum(),)


@pytest.mark.parametrize(
    ("function", "place", "left"),
    [
        (transposed_twice, (3, 3), ["add"]),
        (product_copied, (3, 3), ["t", "mm", "sum"]),
        (row_copied, (3,), ["view", "sum", "sum"]),
        (copied_and_used, (3, 3), ["t", "mm", "copy_", "sum"]),
        (added_after_a_read, (3, 3), ["sum", "t", "mm", "copy_"]),
        (copied_transposed, (3, 3), ["t", "mm", "t", "copy_", "sum"]),
        (scaled_afterwards, (3, 3), ["t", "mm", "mul_", "sum"]),
    ],
)
def test_what_changes_no_value_is_left_out(function, place, left):
    graph, inputs = graph_of(function, (5, 3), place)
    before = run(graph, inputs)
    simplify(graph)
    graph.lint()
    assert sorted(operations(graph)) == sorted(left)
    assert all(map(torch.equal, run(graph, inputs), before))


def test_gradients_are_computed_where_the_optimizer_reads_them():
    layer, y = nn.Linear(4, 3), torch.tensor([0, 1, 2])

    def gradients(x, *places):
        loss = nn.functional.cross_entropy(layer(x), y)
        new = torch.autograd.grad(loss, [layer.weight, layer.bias])
        with torch.no_grad():
            for place, gradient in zip(places, new, strict=True):
                place.copy_(gradient)
        return (loss.detach(),)

    graph, _ = graph_of(gradients, (3, 4), (3, 4), (3,))
    assert operations(graph).count("copy_") == 2
    simplify(graph)
    assert "copy_" not in operations(graph)
