"""X in any container that holds rows; what is not taken says what is."""

# ruff: noqa: PT017 - some may be answered or refused, and what refuses has to say why

import io
from collections import OrderedDict, UserDict
from types import MappingProxyType

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from skorch.helper import SliceDict
from torch import nn
from torch.utils.data import TensorDataset

from sktorch import TorchClassifier, TorchRegressor
from sktorch.modules import RecurrentNet

RNG = np.random.default_rng(0)
N = 40
A = RNG.random((N, 4), dtype=np.float32)
B = RNG.random((N, 3), dtype=np.float32)
y = np.arange(N) % 2


class TwoInputs(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.output = nn.Linear(7, n_outputs)

    def forward(self, A, B):
        return self.output(torch.cat([A, B], dim=1))


def net(module=TwoInputs, kind=TorchClassifier, **parameters):
    return kind(module, **{"max_epochs": 2, "random_state": 0} | parameters)


class BatchEncoding(UserDict):
    """Like that of the library transformers: a mapping whose attributes are its entries too."""

    def __getattr__(self, name):
        try:
            return self.__dict__["data"][name]
        except KeyError:
            raise AttributeError(name) from None

    def keys(self):
        return self.data.keys()


def npz():
    file = io.BytesIO()
    np.savez(file, A=A, B=B)
    file.seek(0)
    return np.load(file)


MAPPINGS = {
    "dict": lambda: {"A": A, "B": B},
    "dict in another order": lambda: {"B": B, "A": A},
    "dict of tensors": lambda: {"A": torch.from_numpy(A), "B": torch.from_numpy(B)},
    "OrderedDict": lambda: OrderedDict(A=A, B=B),
    "SliceDict": lambda: SliceDict(A=A, B=B),
    "UserDict": lambda: UserDict(A=A, B=B),
    "MappingProxyType": lambda: MappingProxyType({"A": A, "B": B}),
    "BatchEncoding": lambda: BatchEncoding(A=A, B=B),
    "BatchEncoding of tensors": lambda: BatchEncoding(A=torch.from_numpy(A), B=torch.from_numpy(B)),
    "BatchEncoding of lists": lambda: BatchEncoding(A=A.tolist(), B=B.tolist()),
    "NpzFile": npz,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_any_mapping_is_inputs_by_name(mapping, kind):
    plain = {"A": A, "B": B}
    given = MAPPINGS[mapping]()
    expected, fitted = net(kind=kind).fit(plain, y), net(kind=kind).fit(given, y)
    np.testing.assert_array_equal(fitted.predict(given), expected.predict(plain))
    assert fitted.score(given, y) == expected.score(plain, y)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_any_mapping_is_validated_on(mapping):
    given = MAPPINGS[mapping]()
    fitted = net(validation=(given, y)).fit({"A": A, "B": B}, y)
    assert len(fitted.validation_scores_) == 2


LENGTHS = RNG.integers(1, 6, N)
SEQUENCES = [RNG.random((n, 2), dtype=np.float32) for n in LENGTHS]


class Beside(nn.Module):
    """Sequences of several lengths beside a table."""

    def __init__(self, n_outputs):
        super().__init__()
        self.output = nn.Linear(2 + 4, n_outputs)

    def forward(self, words, table):
        padded, lengths = words
        mean = padded.sum(1) / lengths[:, None]
        return self.output(torch.cat([mean, table], dim=1))


def test_sequences_in_a_mapping_are_padded_or_named():
    given = {"words": SEQUENCES, "table": A}
    try:
        fitted = net(Beside).fit(given, y)
    except (TypeError, ValueError) as error:
        assert "words" in str(error)
    else:
        means = torch.tensor(np.stack([s.mean(0) for s in SEQUENCES]))
        with torch.no_grad():
            by_hand = fitted.module_.output(torch.cat([means, torch.from_numpy(A)], 1)).softmax(1)
        np.testing.assert_allclose(fitted.predict_proba(given), by_hand, atol=1e-6)


def test_lists_of_numbers_of_several_lengths_are_sequences_or_refused_with_what_is_taken():
    lists = [s[:, 0].tolist() for s in SEQUENCES]

    class Mean(nn.Module):
        def __init__(self, n_outputs):
            super().__init__()
            self.output = nn.Linear(1, n_outputs)

        def forward(self, padded, lengths):
            return self.output((padded.sum(1) / lengths)[:, None].float())

    try:
        fitted = net(Mean).fit(lists, y)
    except (TypeError, ValueError) as error:
        assert "X" in str(error)
        assert "length" in str(error)
    else:
        assert fitted.predict(lists).shape == (N,)


def test_lists_of_steps_of_several_lengths_are_sequences():
    lists = [s.tolist() for s in SEQUENCES]
    arrays = [s.astype(np.float64) for s in SEQUENCES]  # Numbers of Python are float64.
    settings = {"module": RecurrentNet, "module__hidden": 4}
    fitted, expected = net(**settings).fit(lists, y), net(**settings).fit(arrays, y)
    np.testing.assert_array_equal(fitted.predict_proba(lists), expected.predict_proba(arrays))


def test_pictures_of_several_sizes_are_refused_with_what_to_do():
    pictures = [RNG.random((1, 4 + i % 3, 5), dtype=np.float32) for i in range(N)]
    with pytest.raises(ValueError, match=r"X.*(shape|size)"):
        net(None).fit(pictures, y)
    heights = [RNG.random((4 + i % 3, 5, 1), dtype=np.float32) for i in range(N)]
    widths = [RNG.random((4, 5 + i % 3), dtype=np.float32) for i in range(N)]
    for other in (widths, [*heights[:-1], heights[0][:, :2]]):
        with pytest.raises(ValueError, match="X"):
            net(None).fit(other, y)


COLUMNS = {"a": A[:, 0], "b": A[:, 1]}
TABLES = {
    "pandas": pd.DataFrame(COLUMNS),
    "polars": pl.DataFrame(COLUMNS),
    "polars, lazy": pl.DataFrame(COLUMNS).lazy(),
    "polars, a lazy query": pl.DataFrame(COLUMNS | {"c": A[:, 2]}).lazy().select("a", "b"),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_a_table_of_any_library_is_rows_and_names(table):
    fitted = net(None).fit(table, y)
    assert [*fitted.feature_names_in_] == ["a", "b"]
    plain = TABLES["pandas"]
    np.testing.assert_array_equal(
        fitted.predict_proba(table), net(None).fit(plain, y).predict_proba(plain)
    )


@pytest.mark.parametrize(
    "target", [pl.Series(y), pd.Series(y), pl.DataFrame({"y": y}).lazy(), [*map(int, y)]]
)
@pytest.mark.filterwarnings("ignore:A column-vector y")
def test_labels_of_any_library(target):
    np.testing.assert_array_equal(net(None).fit(A, target).classes_, [0, 1])


NOT_TAKEN = {
    "generator": lambda: (row for row in A),
    "iterator": lambda: iter(A),
    "zip": lambda: zip(A, y, strict=True),
    "map": lambda: map(list, A),
    "set": lambda: {1, 2, 3},
    "word": lambda: "rows.csv",
    "number": lambda: 3.5,
    "None": lambda: None,
    "function": lambda: np.mean,
    "class": lambda: TensorDataset,
    "empty dict": dict,
    "empty list": list,
    "empty tuple": tuple,
    "dict of numbers": lambda: {"A": 3, "B": 4},
    "dict with None": lambda: {"A": A, "B": None},
    "dict with a word": lambda: {"A": A, "B": "b"},
    "dict of integers as keys": lambda: {0: A, 1: B},
    "list with None": lambda: [A, None],
    "nested dict": lambda: {"A": A, "B": {"C": B}},
    "bytes": lambda: b"rows",
    "module": lambda: nn.Linear(2, 2),
}


@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
@pytest.mark.parametrize("name", NOT_TAKEN)
def test_what_is_not_taken_says_so(name, kind):
    with pytest.raises((ValueError, TypeError), match=r"\bX\b|Expected|array"):
        net(None, kind).fit(NOT_TAKEN[name](), y)


@pytest.mark.parametrize("name", NOT_TAKEN)
def test_what_is_not_taken_to_predict_says_so(name):
    fitted = net(None).fit(A, y)
    before = fitted.predict(A)
    with pytest.raises((ValueError, TypeError), match=r"\bX\b|Expected|array"):
        fitted.predict(NOT_TAKEN[name]())
    np.testing.assert_array_equal(fitted.predict(A), before)
