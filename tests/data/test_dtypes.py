"""Booleans and integers inside a dict, a tuple or a dataset reach ``forward`` as what they are."""

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import KFold, cross_validate
from skorch.helper import SliceDict
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from sktorch import TorchClassifier
from sktorch.data.dtypes import dtypes_to_try, matching_dtypes

N = 40
RNG = np.random.default_rng(0)
X = RNG.random((N, 4), dtype=np.float32)
y = np.arange(N) % 2


class Spy(nn.Module):
    """Notes the dtypes of what it gets."""

    seen = []

    def __init__(self, n_outputs):
        super().__init__()
        self.output = nn.Linear(4, n_outputs)

    def forward(self, X, beside):
        Spy.seen.append((X.dtype, beside.dtype))
        return self.output(X) + 0 * beside.float().mean(1, keepdim=True)


class Samples(Dataset):
    """Samples ``((X, beside), y)`` of several inputs."""

    def __init__(self, beside, make):
        self.beside, self.make = beside, make

    def __len__(self):
        return N

    def __getitem__(self, i):
        return (*self.make(X[i], self.beside[i]), int(y[i]))


class Flow(IterableDataset):
    def __init__(self, samples):
        self.samples = samples

    def __iter__(self):
        return (self.samples[i] for i in range(N))


def by_position(x, beside):
    return x, beside


def by_name(x, beside):
    return ({"X": x, "beside": beside},)


def stacked(samples):
    """A collate function of one's own, that keeps every dtype."""
    inputs, targets = zip(*samples, strict=True)
    parts = [
        torch.stack([torch.as_tensor(part) for part in parts])
        for parts in zip(*inputs, strict=True)
    ]
    return tuple(parts), torch.stack([torch.as_tensor(t) for t in targets])


CONTAINERS = {
    "dict": lambda beside: ({"X": X, "beside": beside}, y),
    "dict of tensors": lambda beside: (
        {"X": torch.tensor(X), "beside": torch.from_numpy(beside)},
        y,
    ),
    "SliceDict": lambda beside: (SliceDict(X=X, beside=beside), y),
    "dataset of tuples": lambda beside: (Samples(beside, by_position), None),
    "dataset of dicts": lambda beside: (Samples(beside, by_name), None),
    "stream of tuples": lambda beside: (Flow(Samples(beside, by_position)), None),
    "stream of dicts": lambda beside: (Flow(Samples(beside, by_name)), None),
}
KINDS = {
    "bool": (bool, "bool"),
    "int64": (np.int64, "integer"),
    "int32": (np.int32, "integer"),
    "int8": (np.int8, "integer"),
    "uint8": (np.uint8, "integer"),
    "float64": (np.float64, "float"),
    "float16": (np.float16, "float"),
}


def kind_of(dtype):
    return "bool" if dtype is torch.bool else "float" if dtype.is_floating_point else "integer"


def net(module, **parameters):
    return TorchClassifier(module, **{"max_epochs": 1, "random_state": 0} | parameters)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("container", CONTAINERS)
def test_an_input_beside_others_keeps_its_kind(container, kind):
    dtype, expected = KINDS[kind]
    given, target = CONTAINERS[container](RNG.integers(0, 2, (N, 3)).astype(dtype))
    Spy.seen = []
    fitted = net(Spy, batch_size=16).fit(given, target)
    assert fitted.predict(given).shape == (N,)
    assert {x for x, _ in Spy.seen} == {torch.float32}
    assert {kind_of(beside) for _, beside in Spy.seen} == {expected}


def test_batches_of_a_collate_function_keep_their_kinds():
    Spy.seen = []
    mask = RNG.random((N, 3)) < 0.5
    settings = {"iterator_train__collate_fn": stacked, "iterator_valid__collate_fn": stacked}
    fitted = net(Spy, **settings).fit(Samples(mask, by_position))
    fitted.predict(Samples(mask, by_position))
    assert {beside for _, beside in Spy.seen} == {torch.bool}


def test_rows_to_validate_on_keep_their_kinds():
    Spy.seen = []
    given = {"X": X, "beside": RNG.random((N, 3)) < 0.5}
    net(Spy, validation=(given, y)).fit(given, y)
    assert {beside for _, beside in Spy.seen} == {torch.bool}


def test_inputs_keep_their_kinds_in_a_stack():
    Spy.seen = []
    given = SliceDict(X=X, beside=RNG.random((N, 3)) < 0.5)
    with joblib.parallel_config("sktorch"):
        cross_validate(net(Spy), given, y, cv=KFold(2), error_score="raise")
    assert {beside for _, beside in Spy.seen} == {torch.bool}


class Attention(nn.Module):
    """Attends to the steps that are not padding, as the documentation of torch has it."""

    def __init__(self, n_outputs):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.output = nn.Linear(4, n_outputs)

    def forward(self, X, padding):
        attended, _ = self.attention(X, X, X, key_padding_mask=padding)
        return self.output(attended[:, 0])


class Filled(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.output = nn.Linear(5, n_outputs)

    def forward(self, X, padding):
        return self.output(X[..., 0].masked_fill(padding, -1))


class Chosen(Filled):
    def forward(self, X, padding):
        return self.output(torch.where(padding, X[..., 1], X[..., 0]))


class Indexed(Filled):
    def forward(self, X, padding):
        X = X[..., 0].clone()
        X[padding] = 0
        return self.output(X)


class Negated(Filled):
    def forward(self, X, padding):
        return self.output(X[..., 0] * ~padding)


@pytest.mark.parametrize("module", [Attention, Filled, Chosen, Indexed, Negated])
@pytest.mark.parametrize("container", ["dict", "dataset"])
def test_a_mask_hides_steps(module, container):
    steps = RNG.random((N, 5, 4), dtype=np.float32)
    padding = np.arange(5) >= RNG.integers(1, 6, (N, 1))

    class Sentences(Dataset):
        def __len__(self):
            return N

        def __getitem__(self, i):
            return steps[i], padding[i], int(y[i])

    given, target = ({"X": steps, "padding": padding}, y), (Sentences(), None)
    given = given if container == "dict" else target
    fitted = net(module).fit(*given)
    with torch.no_grad():
        logits = fitted.module_(torch.from_numpy(steps), torch.from_numpy(padding))
    by_hand = logits.softmax(1).numpy()
    np.testing.assert_allclose(fitted.predict_proba(given[0]), by_hand, atol=1e-6)


class Words(nn.Module):
    """Ids into an embedding, and whatever a linear layer takes beside them."""

    def __init__(self, n_outputs):
        super().__init__()
        self.words = nn.Embedding(10, 3)
        self.output = nn.Linear(3 + 4, n_outputs)

    def forward(self, ids, table):
        return self.output(torch.cat([self.words(ids).mean(1), self.numbers(table)], dim=1))

    def numbers(self, table):
        return table


class Pictured(Words):
    def __init__(self, n_outputs):
        super().__init__(n_outputs)
        self.convolution = nn.Conv2d(1, 4, 3)

    def numbers(self, table):
        return self.convolution(table).mean((2, 3))


REFUSING = {
    "int64 table into Linear": (Words, RNG.integers(0, 9, (N, 4))),
    "uint8 table into Linear": (Words, RNG.integers(0, 9, (N, 4), dtype=np.uint8)),
    "uint8 pictures into Conv2d": (Pictured, RNG.integers(0, 9, (N, 1, 5, 5), dtype=np.uint8)),
    "bool pictures into Conv2d": (Pictured, RNG.random((N, 1, 5, 5)) < 0.5),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", REFUSING)
def test_only_the_input_that_a_module_refuses_as_integers_becomes_floats(case):
    module, table = REFUSING[case]
    given = {"ids": RNG.integers(0, 10, (N, 6)), "table": table}
    fitted = net(module).fit(given, y)
    with torch.no_grad():
        parts = torch.from_numpy(given["ids"]), torch.from_numpy(table).float()
        by_hand = fitted.module_(*parts).softmax(1).numpy()
    np.testing.assert_allclose(fitted.predict_proba(given), by_hand, atol=1e-6)


def test_a_cast_that_the_module_asks_for_is_told():
    module, table = REFUSING["uint8 pictures into Conv2d"]
    with pytest.warns(UserWarning, match="table"):
        net(module).fit({"ids": RNG.integers(0, 10, (N, 6)), "table": table}, y)


class Parity(nn.Module):
    """Knows an id by its last bit."""

    def __init__(self, n_outputs):
        super().__init__()
        self.bits = nn.Embedding(2, n_outputs)

    def forward(self, X):
        return self.bits((X[:, 0] % 2).long())


LARGE = 2**24 + np.arange(N)
IDS = {
    "array": LARGE[:, None],
    "int64 up to its limit": (2**62 + np.arange(N))[:, None],
    "DataFrame": pd.DataFrame({"id": LARGE}),
    "tensor": torch.from_numpy(LARGE[:, None]),
    "list": [[int(i)] for i in LARGE],
    "small": np.arange(N)[:, None],
    "small floats": np.arange(N, dtype=np.float32)[:, None],
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_keep_their_value(kind):
    target = np.arange(N) % 2
    fitted = net(Parity, lr=1.0, max_epochs=20).fit(IDS[kind], target)
    assert fitted.score(IDS[kind], target) == 1.0


FLOATS, WORDS, MASK = torch.ones(2, 3), torch.ones(2, 3).long(), torch.ones(2, 3) > 0
F32, I64, BOOL = torch.float32, torch.int64, torch.bool


@pytest.mark.parametrize(
    ("example", "keep", "expected"),
    [
        (FLOATS, False, [F32]),
        (FLOATS.double(), True, [F32]),
        (WORDS, False, [F32, I64]),
        (WORDS.to(torch.uint8), True, [I64, F32]),
        (MASK, True, [BOOL, F32]),
        ((FLOATS, FLOATS), True, [(F32, F32)]),
        ({"a": FLOATS, "b": MASK}, True, [{"a": F32, "b": BOOL}, {"a": F32, "b": F32}]),
        ((WORDS, MASK), True, [(I64, BOOL), (F32, BOOL), (I64, F32), (F32, F32)]),
    ],
)
def test_as_few_inputs_as_possible_become_floats(example, keep, expected):
    assert [*dtypes_to_try(example, F32, keep)] == expected


def test_a_module_that_takes_nothing_is_not_tried_for_ever():
    assert len([*dtypes_to_try((WORDS,) * 30, F32, True)]) < 100


@pytest.mark.parametrize(
    ("values", "dtypes", "expected"),
    [
        (WORDS, F32, F32),
        ((FLOATS, WORDS), F32, (F32, I64)),
        ({"a": WORDS}, (torch.float64, I64), {"a": I64}),
        ((FLOATS, FLOATS), (torch.float64, I64), (torch.float64, I64)),
        (FLOATS, (torch.float64, I64), torch.float64),
        ((FLOATS, MASK), I64, (F32, BOOL)),
    ],
)
def test_inputs_of_another_structure_than_was_tried_keep_their_kinds(values, dtypes, expected):
    assert matching_dtypes(values, dtypes) == expected


def test_complex_numbers_in_a_dataset_are_refused():
    samples = [(torch.ones(3, dtype=torch.complex64), int(label)) for label in y]
    with pytest.raises(ValueError, match="Complex data not supported"):
        net(None).fit(Listed(samples))


class Listed(Dataset):
    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        return self.samples[i]
