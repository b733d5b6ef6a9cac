"""A replayed training gives the eager one's bits: losses, weights, buffers, states and draws."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sktorch.training.programs import program_of
from sktorch.training.replayed_step import ReplayedStep
from tests.training.replays import (
    N_CLASSES,
    assert_trains_alike,
    decide_without_clock,
    in_batches,
    in_blocks,
    table,
)


@pytest.fixture(autouse=True)
def without_clock():
    with pytest.MonkeyPatch.context() as patch:
        decide_without_clock(patch)
        program_of.cache_clear()
        yield
        program_of.cache_clear()


class Layers(nn.Module):
    """Puts layers between two linear ones; the rows may be seen in another shape."""

    def __init__(self, *layers, width=8, shape=None):
        super().__init__()
        self.first, self.last = nn.Linear(4, width), nn.LazyLinear(N_CLASSES)
        self.between, self.shape = nn.Sequential(*layers), shape
        self(torch.zeros(2, 4))

    def forward(self, X):
        hidden = self.first(X)
        if self.shape is not None:
            hidden = hidden.reshape(len(X), *self.shape)
        return self.last(self.between(hidden).flatten(1))


class LastState(nn.Module):
    """The last output of a recurrent layer, over the columns as a sequence."""

    def __init__(self, kind, **options):
        super().__init__()
        self.recurrent, self.last = (
            kind(1, 5, batch_first=True, **options),
            nn.LazyLinear(N_CLASSES),
        )
        self(torch.zeros(2, 4))

    def forward(self, X):
        return self.last(self.recurrent(X[..., None])[0][:, -1])


class Codes(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.last = nn.Embedding(9, 5, padding_idx=0), nn.Linear(20, N_CLASSES)

    def forward(self, X):
        return self.last(self.embedding((2 * X.abs()).long().clamp(max=8)).flatten(1))


class Parts(nn.Module):
    """Layers of which some are tied, frozen, of no dimension or not used."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.unused = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.last = nn.Linear(4, N_CLASSES)

    def forward(self, X):
        return self.scale * self.last(torch.tanh(self.second(self.frozen(self.first(X)))))


class Several(nn.Module):
    """Takes two inputs."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, N_CLASSES), nn.Linear(4, N_CLASSES)

    def forward(self, one, two):
        return self.one(one) * torch.sigmoid(self.two(two))


class OwnFunction(torch.autograd.Function):
    """A step forward, a slope backward."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sign()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (x.abs() < 1)


class Binary(nn.Module):
    def forward(self, X):
        return OwnFunction.apply(X)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.2, batch_first=True)
        self.last = nn.Linear(16, N_CLASSES)

    def forward(self, X):
        return self.last(self.layer(X[..., None] * torch.ones(4)).flatten(1))


MODULES = {
    "linear": partial(nn.Linear, 4, N_CLASSES),
    "MLP": lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, N_CLASSES)),
    "batch norm": lambda: Layers(nn.BatchNorm1d(8), nn.ReLU()),
    "batch norm without weights": lambda: Layers(nn.BatchNorm1d(8, affine=False), nn.SiLU()),
    "dropout": lambda: Layers(nn.Dropout(0.4), nn.Tanh(), nn.AlphaDropout(0.1)),
    "layer norm": lambda: Layers(nn.LayerNorm(8), nn.GELU()),
    "random leaks": lambda: Layers(nn.RReLU(), nn.PReLU(8)),
    "embedding": Codes,
    "GRU": lambda: LastState(nn.GRU),
    "LSTM": lambda: LastState(nn.LSTM, num_layers=2, dropout=0.3),
    "RNN": lambda: LastState(nn.RNN, bidirectional=True),
    "convolution": lambda: Layers(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        width=32,
        shape=(2, 4, 4),
    ),
    "transformer": Attention,
    "parts": Parts,
    "own function": lambda: Layers(Binary()),
    "identity in the middle": lambda: Layers(nn.Identity(), nn.Flatten()),
}
OPTIMIZERS = {
    "SGD": partial(torch.optim.SGD, lr=0.1),
    "SGD, fused": partial(torch.optim.SGD, lr=0.1, momentum=0.9, fused=True),
    "SGD, Nesterov": partial(
        torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1
    ),
    "SGD, dampened": partial(torch.optim.SGD, lr=0.1, momentum=0.9, dampening=0.5, maximize=True),
    "Adam": torch.optim.Adam,
    "Adam, fused": partial(torch.optim.Adam, lr=0.05, fused=True, amsgrad=True, weight_decay=0.1),
    "Adam, one by one": partial(torch.optim.Adam, foreach=False, lr=0.05, amsgrad=True),
    "Adam, lr a tensor": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.05), fused=True),
    "AdamW": partial(torch.optim.AdamW, lr=0.05, fused=True, weight_decay=0.1, maximize=True),
    "Adamax": torch.optim.Adamax,
    "NAdam": partial(torch.optim.NAdam, lr=0.05, decoupled_weight_decay=True, weight_decay=0.1),
    "RAdam": partial(torch.optim.RAdam, lr=0.05),
    "Adagrad": partial(torch.optim.Adagrad, lr_decay=0.1),
    "Adagrad, fused": partial(torch.optim.Adagrad, fused=True),
    "Adadelta": partial(torch.optim.Adadelta, weight_decay=0.1),
    "Adafactor": torch.optim.Adafactor,
    "RMSprop": partial(torch.optim.RMSprop, momentum=0.9, centered=True),
    "Rprop": torch.optim.Rprop,
    "ASGD": partial(torch.optim.ASGD, t0=3, lr=0.1),
    "groups": lambda p: torch.optim.AdamW(
        [{"params": p[:1], "lr": 0.1}, {"params": p[1:], "weight_decay": 0.0}], lr=0.01, fused=True
    ),
    "groups, one frozen": lambda p: torch.optim.SGD(
        [{"params": p[:1], "lr": 0.0}, {"params": p[1:]}], lr=0.1, momentum=0.5, fused=True
    ),
}


def weighted():
    X, y = table()
    return in_batches(X, y, torch.linspace(0, 2, len(y)))


def a_tenth_each_step(optimizer):
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * 0.9


def by_epoch(epoch, module, optimizer):
    for group in optimizer.param_groups:
        group["lr"] = 0.05 * 0.5**epoch


SETTINGS = {
    "plain": {},
    "weights": {"make_batches": weighted},
    "clipped": {"gradient_clip": 0.05},
    "accumulated": {"gradient_accumulation": 3},  # of four batches an epoch: the last alone
    "accumulated and clipped": {
        "gradient_accumulation": 3,
        "gradient_clip": 0.05,
        "make_batches": weighted,
    },
    "by batch": {"after_step": a_tenth_each_step},
    "by epoch": {"before_epoch": by_epoch},
    "blocks": {"make_batches": lambda: in_blocks(*table())},
    "bfloat16": {"precision": "bfloat16"},
}


def assert_replayed(training):
    assert training.engine.eager_reason is None
    assert isinstance(training.step, ReplayedStep)
    assert training.n_replays


@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("make_module", MODULES.values(), ids=MODULES)
def test_modules_and_settings(make_module, options):
    assert_replayed(assert_trains_alike(make_module, **options))


@pytest.mark.parametrize("fresh", [True, False], ids=["state to be made", "loaded state"])
@pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizers(make_optimizer, fresh):
    def load(epoch, module, optimizer):
        if not fresh and epoch % 2:
            optimizer.load_state_dict(optimizer.state_dict())

    for rows in (in_batches, in_blocks):
        training = assert_trains_alike(
            MODULES["MLP"],
            lambda: rows(*table()),  # noqa: B023
            make_optimizer=make_optimizer,
            before_epoch=load,
        )
        assert_replayed(training)


X, CLASSES = table()
INPUTS = {
    "dict": ({"one": X, "two": X.flip(0)}, CLASSES),
    "tuple": ((X, X.flip(0)), CLASSES),
    "weights": ({"two": X, "one": X.flip(0)}, CLASSES, torch.rand(len(X)).bernoulli()),
}


@pytest.mark.parametrize("data", INPUTS.values(), ids=INPUTS)
def test_several_inputs(data):
    assert_replayed(assert_trains_alike(Several, lambda: in_batches(*data)))


class Learned(nn.Module):
    """A loss with a parameter and a buffer."""

    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("n_calls", torch.zeros((), dtype=torch.long))

    def forward(self, output, y):
        self.n_calls += 1
        loss = nn.functional.cross_entropy(output, y)
        return loss * torch.exp(-self.log_scale) + self.log_scale


LOSSES = {
    "weights": lambda: nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 0.5])),
    "smoothed": lambda: nn.CrossEntropyLoss(label_smoothing=0.1),
    "margin": nn.MultiMarginLoss,
    "learned": Learned,
}


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("make_criterion", LOSSES.values(), ids=LOSSES)
def test_losses(make_criterion, clip):
    training = assert_trains_alike(
        MODULES["MLP"], make_criterion=make_criterion, gradient_clip=clip
    )
    assert_replayed(training)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_layouts_of_memory(layout):
    """A second kind of module must not take the recording of the first."""
    for memory_format in (torch.contiguous_format, layout, torch.contiguous_format):

        def make():
            return MODULES["convolution"]().to(memory_format=memory_format)  # noqa: B023

        assert_replayed(assert_trains_alike(make))


def test_doubles():
    X, y = table(dtype=torch.float64)

    def make():
        return MODULES["batch norm"]().double()

    assert_replayed(assert_trains_alike(make, lambda: in_batches(X, y)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    layers=st.lists(
        st.sampled_from(
            [
                partial(nn.Linear, 8, 8),
                partial(nn.BatchNorm1d, 8),
                partial(nn.LayerNorm, 8),
                partial(nn.Dropout, 0.3),
                nn.ReLU,
                nn.Softplus,
                partial(nn.ReLU, inplace=True),
            ]
        ),
        max_size=3,
    ),
    make_criterion=st.sampled_from([nn.CrossEntropyLoss, *LOSSES.values()]),
    make_optimizer=st.sampled_from([*OPTIMIZERS.values()]),
    size=st.sampled_from([3, 5, 8, 11]),  # of 32 rows: no batch has one alone
    dtype=st.sampled_from([torch.float32, torch.float64]),
    is_weighted=st.booleans(),
    options=st.fixed_dictionaries(
        {},
        optional={
            "gradient_clip": st.sampled_from([0.01, 1.0]),
            "gradient_accumulation": st.integers(2, 5),
            "precision": st.just("bfloat16"),
            "after_step": st.just(a_tenth_each_step),
            "before_epoch": st.just(by_epoch),
        },
    ),
)
def test_whatever_is_drawn(
    layers, make_criterion, make_optimizer, size, dtype, is_weighted, options
):
    X, y = table(32, dtype=dtype)
    has_rows = make_criterion is not Learned  # else a loss of all rows, which takes no weights
    weight = torch.linspace(0.1, 2, len(y), dtype=dtype) if is_weighted and has_rows else None
    assert_trains_alike(
        lambda: Layers(*(make_layer() for make_layer in layers)).to(dtype),
        lambda: in_batches(X, y, weight, size),
        make_criterion=lambda: make_criterion().to(dtype),
        make_optimizer=make_optimizer,
        **options,
    )
