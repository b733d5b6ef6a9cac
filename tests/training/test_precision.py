"""Each name's floats, and torch's settings as they were."""

import threading

import pytest
import torch
from torch import nn

from sktorch.training.objective import Objective
from sktorch.training.precision import PRECISIONS, Precision
from sktorch.training.step import make_step


@pytest.fixture(autouse=True, params=["highest", "medium"])
def setting(request):
    """What the user had set before."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(request.param)
    yield request.param
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("float32", torch.float32),
        ("tf32", torch.float32),
        ("bfloat16", torch.bfloat16),
        ("float16", torch.float16),
    ],
)
def test_what_products_are_computed_in(name, dtype, setting):
    precision = Precision.named(name, "cpu")
    factor = torch.ones(2, 2)
    with precision.autocast():
        assert (factor @ factor).dtype is dtype
        inside = torch.get_float32_matmul_precision()
    assert (factor @ factor).dtype is torch.float32
    assert inside == ("high" if name == "tf32" else setting)
    assert torch.get_float32_matmul_precision() == setting
    assert precision.scaler.is_enabled() == (name == "float16")


def test_all_names_are_tested():
    assert set(PRECISIONS) == {"float32", "tf32", "bfloat16", "float16"}


def test_float64_stays_float64():
    factor = torch.ones(2, 2, dtype=torch.float64)
    for name in PRECISIONS:
        with Precision.named(name, "cpu").autocast():
            assert (factor @ factor).dtype is torch.float64


@pytest.mark.parametrize("name", PRECISIONS)
def test_restored_after_an_error(name, setting):
    with pytest.raises(KeyError), Precision.named(name, "cpu").autocast():
        raise KeyError
    assert torch.get_float32_matmul_precision() == setting
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("name", ["float32", "tf32"])
def test_products_of_the_backward_pass_are_computed_likewise(name, setting):
    seen = []

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(context, X):
            seen.append(torch.get_float32_matmul_precision())
            return X.clone()

        @staticmethod
        def backward(context, gradient):
            seen.append(torch.get_float32_matmul_precision())
            return gradient

    class Module(nn.Linear):
        def forward(self, X):
            return Watched.apply(super().forward(X))

    module = Module(3, 2)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    precision = Precision.named(name, "cpu")
    objective = Objective(module, nn.CrossEntropyLoss(), precision.autocast)
    step = make_step(objective, optimizer, precision)
    step((torch.ones(4, 3), torch.tensor([0, 1, 0, 1]), None))
    assert seen == ["high" if name == "tf32" else setting] * 2
    assert torch.get_float32_matmul_precision() == setting


def test_threads_that_overlap_leave_the_setting_as_it_was(setting):
    """The setting is the process's: the last one out has to restore what the first one found."""
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()
    autocast = Precision.named("tf32", "cpu").autocast

    def first():
        with autocast():
            first_in.set()
            second_in.wait(1)
        first_out.set()

    def second():
        first_in.wait(1)
        with autocast():
            second_in.set()
            first_out.wait(1)

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.get_float32_matmul_precision() == setting
