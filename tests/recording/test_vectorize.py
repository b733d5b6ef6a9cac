"""Rewritten products and softmaxes compute what was recorded, but for the last bits."""

import pytest
import torch
import torch.nn.functional as F

from sktorch.recording.record import record

ATEN = torch.ops.aten
GENERATOR = torch.Generator()


def numbers(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def product_of_transposed(x, y):
    return (torch.bmm(x.mT, y),)


def narrow_product(x, y):
    return (torch.bmm(x, y).view(-1).relu(),)  # The view takes rows that are contiguous.


def softmaxes(x, y):
    return F.log_softmax(x, -1), F.softmax(y, 2), F.log_softmax(x, 1)


def gradients(x, gradient):
    outputs = ATEN._log_softmax(x, 2, False), ATEN._softmax(x, 2, False)
    return (
        ATEN._log_softmax_backward_data(gradient, outputs[0], 2, x.dtype),
        ATEN._softmax_backward_data(gradient, outputs[1], 2, x.dtype),
    )


# The function, the shapes of its inputs, and what is rewritten.
CASES = {
    "tall": (product_of_transposed, [(2, 50, 8), (2, 50, 3)], "product"),
    "wide already": (product_of_transposed, [(2, 50, 3), (2, 50, 8)], None),
    "square": (product_of_transposed, [(2, 50, 4), (2, 50, 4)], None),
    "few columns": (narrow_product, [(2, 40, 7), (2, 7, 3)], "product"),
    "many columns": (narrow_product, [(2, 40, 7), (2, 7, 16)], None),
    "few rows": (narrow_product, [(2, 3, 7), (2, 7, 8)], None),
    "softmax of few classes": (softmaxes, [(2, 40, 3), (2, 40, 10)], "softmax"),
    "softmax of many classes": (softmaxes, [(2, 40, 16), (2, 40, 20)], None),
    "softmax of few rows": (softmaxes, [(2, 4, 3), (2, 4, 10)], None),
    "softmax of one class": (softmaxes, [(2, 40, 1), (2, 40, 1)], None),
    "gradients of few classes": (gradients, [(2, 40, 3), (2, 40, 3)], "softmax"),
    "gradients of many classes": (gradients, [(2, 40, 17), (2, 40, 17)], None),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("planned_memory", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_a_rewritten_graph_computes_the_same(name, planned_memory, dtype):
    function, shapes, rewritten = CASES[name]
    inputs = [numbers(*shape, seed=n, dtype=dtype) for n, shape in enumerate(shapes)]
    plain, vectorized = (
        record(function, GENERATOR, *inputs, vectorized=v, planned_memory=planned_memory)[0]
        for v in (False, True)
    )
    assert vectorized.replayed_by == "TorchScript"
    assert (plain.program.source == vectorized.program.source) == (rewritten is None)
    others = [numbers(*shape, seed=9 + n, dtype=dtype) for n, shape in enumerate(shapes)]
    expected, tolerance = function(*others), {"rtol": 1e-5, "atol": 1e-6}
    for _ in range(2):
        for value, wanted in zip(vectorized(GENERATOR, *others), expected, strict=True):
            assert value.is_contiguous() or function is product_of_transposed
            torch.testing.assert_close(value, wanted, **tolerance)
    for value, wanted in zip(plain(GENERATOR, *others), expected, strict=True):
        assert torch.equal(value, wanted), "without, to the bit"


def test_a_softmax_in_half_precision_stays():
    inputs = [numbers(2, 40, 3).half(), numbers(2, 40, 10).half()]
    plain, vectorized = (
        record(softmaxes, GENERATOR, *inputs, vectorized=v, planned_memory=False)[0]
        for v in (False, True)
    )
    assert plain.program.source == vectorized.program.source
