"""Means and scales of all kinds of data are those of scikit-learn's scaler."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_digits, load_wine
from sklearn.preprocessing import StandardScaler
from torch.utils.data import TensorDataset

from sktorch.data import moments
from sktorch.data.moments import mean_and_scale
from sktorch.data.sources import as_source
from tests.data.samples import Items, ItemStream

X = load_wine().data
ROWS = np.arange(len(X))
RNG = np.random.default_rng(0)
WEIGHTS = RNG.random(len(X)) + 0.1
SOME = np.sort(RNG.permutation(len(X))[:100])


def of(values, index=ROWS, weights=None, dtype=torch.float64, **settings):
    source = as_source(values, **({"checked_for": "a test", "has_targets": False} | settings))
    mean, scale = mean_and_scale(source, index, weights, dtype)
    assert mean.dtype is scale.dtype is dtype
    return mean.numpy(), scale.numpy()


def memory_map(tmp_path):
    np.save(tmp_path / "rows.npy", X)
    return np.load(tmp_path / "rows.npy", mmap_mode="r")


KINDS = {
    "array": lambda path: X,
    "lists": lambda path: X.tolist(),
    "columns of Fortran": lambda path: np.asfortranarray(X),
    "frame": lambda path: pd.DataFrame(X),
    "csr": lambda path: sparse.csr_array(X),
    "csc": lambda path: sparse.csc_matrix(X),
    "tensor": lambda path: torch.from_numpy(X),
    "memory map": memory_map,
    "dataset of tensors": lambda path: TensorDataset(torch.from_numpy(X)),
    "dataset": lambda path: Items([*X]),
    "stream": lambda path: ItemStream([*torch.from_numpy(X)]),
}


@pytest.mark.parametrize("part_rows", [moments.PART_ROWS, 7])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("index", [ROWS, SOME], ids=["all", "some"])
@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds(kind, index, weights, part_rows, tmp_path, monkeypatch):
    monkeypatch.setattr(moments, "PART_ROWS", part_rows)
    mean, scale = of(KINDS[kind](tmp_path), index, weights)
    own = None if weights is None else weights[index]
    expected = StandardScaler().fit(X[index], sample_weight=own)
    np.testing.assert_allclose(mean, expected.mean_, rtol=1e-12)
    np.testing.assert_allclose(scale, expected.scale_, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, bool])
def test_other_dtypes(dtype):
    values = load_digits().images.astype(dtype)[:, None]
    mean, scale = of(values, np.arange(len(values)))
    assert mean.shape == scale.shape == (1, 8, 8)
    np.testing.assert_allclose(mean, values.mean(0, dtype="float64"), rtol=1e-12)
    deviation = values.std(0, dtype="float64")
    np.testing.assert_allclose(scale[deviation > 0], deviation[deviation > 0], rtol=1e-12)
    assert (scale[(deviation == 0) & (mean == 0)] == 1).all()


def test_weights_count_as_repetitions():
    times = RNG.integers(0, 4, len(X))
    weighted = of(X, np.flatnonzero(times), times.astype(float))
    repeated = of(np.repeat(X, times, axis=0), np.arange(times.sum()))
    np.testing.assert_allclose(weighted, repeated, rtol=1e-12)


def test_rows_that_do_not_count_change_no_bit():
    other = np.where(np.isin(ROWS, SOME)[:, None], X, 1e6)
    for found, expected in zip(of(other, SOME), of(X[SOME], np.arange(len(SOME))), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_large_offset_costs_no_digits():
    values = RNG.integers(0, 10, (300, 1)).astype(float)
    (plain,), (shifted,) = (of(values + shift, np.arange(300))[1] for shift in (0, 1e12))
    assert shifted == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize(
    ("column", "dtype", "expected"),
    [
        (np.zeros(5), torch.float32, 1),
        (np.full(5, 0.1), torch.float64, 0.1),
        (np.full(5, -7.0), torch.float32, 7),
        (1e9 + np.arange(5), torch.float32, 1e9),  # float32 can't tell them from each other.
        (1e9 + np.arange(5), torch.float64, 2**0.5),
        (1e-320 * np.arange(5), torch.float64, 1),
        (np.array([0, 0, 0, 0, 1]), torch.float32, 0.4),
    ],
)
def test_columns_that_hardly_vary(column, dtype, expected):
    _, scale = of(column[:, None], np.arange(5), dtype=dtype)
    assert scale[0] == pytest.approx(expected)


def test_one_row():
    mean, scale = of(X[:1], np.arange(1))
    np.testing.assert_array_equal(mean, X[0])
    np.testing.assert_array_equal(scale, np.abs(X[0]))


def test_numbers_whose_squares_overflow():
    mean, scale = of(np.array([[1e300], [-1e300]]), np.arange(2))
    assert np.isfinite(mean).all()
    assert np.isfinite(scale).all()


def test_few_rows_are_in_memory_at_once(monkeypatch):
    monkeypatch.setattr(moments, "PART_BYTES", 8 * X.shape[1] * 10)
    source = as_source(sparse.csr_array(X), checked_for="a test", has_targets=False)
    sizes, inputs = [], source.inputs

    def counted(*args, **options):
        for rows in inputs(*args, **options):
            sizes.append(len(rows))
            yield rows

    monkeypatch.setattr(source, "inputs", counted)
    mean_and_scale(source, ROWS, None, torch.float32)
    assert max(sizes) == 10
    assert sum(sizes) == len(X)


def test_complex_numbers_are_refused():
    samples = [torch.ones(3, dtype=torch.complex64)] * 4
    with pytest.raises(ValueError, match="Complex data not supported"):
        of(Items(samples), np.arange(4))
