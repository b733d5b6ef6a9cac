"""Every kind of X gives the predictions of the plain array, and none is changed."""

import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import sparse
from sklearn import config_context
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sktorch import TorchClassifier

SWAPPED = ">" if sys.byteorder == "little" else "<"
COLUMNS = ["a", "b", "c", "d", "e"]


def small_integers(n_rows=48, n_features=5):
    """Values that every dtype holds exactly, many of them zero, and two classes of them."""
    X = np.random.RandomState(0).randint(0, 4, (n_rows, n_features)).astype("float32")
    return X, (X[:, 0] > X[:, 1]).astype(int)


def classifier(**parameters):
    """Float32 parameters whatever X is, so that the same seed gives the same weights."""
    settings = {
        "max_epochs": 3,
        "batch_size": 16,
        "random_state": 0,
        "device": "cpu",
        "module__hidden": (6,),
        "module__dtype": torch.float32,
    }
    return TorchClassifier(**(settings | parameters))


def read_only(X):
    X = X.copy()
    X.setflags(write=False)
    return X


def with_gaps(X):
    """The same values in every second row and column of a wider array."""
    wide = np.full((2 * X.shape[0], 2 * X.shape[1]), -7.0, dtype=X.dtype)
    wide[::2, ::2] = X
    return wide[::2, ::2]


KINDS = {
    "float64": lambda X: X.astype("float64"),
    "float16": lambda X: X.astype("float16"),
    **{
        f"{kind}{bits}": lambda X, name=f"{kind}{bits}": X.astype(name)
        for kind in ("int", "uint")
        for bits in (8, 16, 32, 64)
    },
    "object": lambda X: X.astype(object),
    "lists": lambda X: X.tolist(),
    "list of arrays": list,
    "pandas": lambda X: pd.DataFrame(X, columns=COLUMNS),
    "pandas of several dtypes": lambda X: pd.DataFrame(X, columns=COLUMNS).astype(
        {"a": "int64", "b": "float64", "c": "int8"}
    ),
    "pandas nullable": lambda X: pd.DataFrame(X, columns=COLUMNS).astype("Int64"),
    "polars": lambda X: pl.DataFrame(X, schema=COLUMNS),
    "polars of several dtypes": lambda X: pl.DataFrame(X, schema=COLUMNS).with_columns(
        pl.col("a").cast(pl.Int32), pl.col("b").cast(pl.Float64)
    ),
    "Fortran order": np.asfortranarray,
    "negative strides": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "gaps": with_gaps,
    "other byte order, float": lambda X: X.astype(f"{SWAPPED}f8"),
    "other byte order, int": lambda X: X.astype(f"{SWAPPED}i4"),
    "read-only": read_only,
    "matrix of zero offset": lambda X: np.broadcast_to(X[None], (1, *X.shape))[0],
    "tensor": lambda X: torch.from_numpy(X.copy()),
    "tensor float64": lambda X: torch.from_numpy(X).double(),
    "tensor float16": lambda X: torch.from_numpy(X).half(),
    "tensor bfloat16": lambda X: torch.from_numpy(X).bfloat16(),
    "tensor int64": lambda X: torch.from_numpy(X).long(),
    "tensor uint8": lambda X: torch.from_numpy(X).to(torch.uint8),
    "tensor transposed": lambda X: torch.from_numpy(np.ascontiguousarray(X.T)).T,
    "tensor with gradient": lambda X: torch.from_numpy(X.copy()).requires_grad_(),
    **{
        f"sparse {fmt} {kind.__name__}": lambda X, kind=kind, fmt=fmt: kind(X).asformat(fmt)
        for kind in (sparse.csr_array, sparse.csr_matrix)
        for fmt in ("csr", "csc", "coo", "bsr", "dia", "dok", "lil")
    },
    "sparse int": lambda X: sparse.csr_array(X.astype("int64")),
}


@pytest.fixture(scope="module")
def expected():
    """What the plain float32 array gives."""
    X, y = small_integers()
    return classifier(early_stopping=True).fit(X, y).predict_proba(X)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_predictions_of_the_plain_array(kind, expected):
    X, y = small_integers()
    converted = KINDS[kind](X)
    fitted = classifier(early_stopping=True).fit(converted, y)
    assert fitted.n_features_in_ == 5
    probabilities = fitted.predict_proba(converted)
    assert isinstance(probabilities, np.ndarray)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5, atol=1e-6)
    labels = fitted.predict(converted)
    assert isinstance(labels, np.ndarray)
    np.testing.assert_array_equal(labels, expected.argmax(1))


@pytest.mark.parametrize("to_kind", [np.asarray, np.ndarray.tolist, torch.from_numpy])
def test_bool_is_zero_and_one(to_kind):
    X = np.random.RandomState(0).rand(40, 5) > 0.5
    y = X[:, 0] ^ X[:, 1]
    reference = classifier().fit(X.astype("float32"), y)
    from_bool = classifier().fit(to_kind(X), y)
    np.testing.assert_array_equal(
        from_bool.predict_proba(to_kind(X)), reference.predict_proba(X.astype("float32"))
    )


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float64", "float64"), ("float32", "float32"), ("float16", "float32"), ("int64", "float32")],
)
def test_the_ready_module_takes_its_dtype_from_X(dtype, expected):
    X, y = small_integers()
    fitted = TorchClassifier(max_epochs=1, random_state=0, device="cpu").fit(X.astype(dtype), y)
    assert fitted.module_[1].weight.dtype is getattr(torch, expected)
    assert fitted.predict_proba(X.astype(dtype)).dtype == expected


@pytest.mark.parametrize("module_dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("data_dtype", ["float64", "float32", "int32"])
def test_an_own_module_decides_what_X_is_cast_to(module_dtype, data_dtype):
    X, y = small_integers()
    seen = []

    class Watched(nn.Linear):
        def forward(self, X):
            seen.append(X.dtype)
            return super().forward(X)

    dtype = getattr(torch, module_dtype)
    fitted = TorchClassifier(Watched(5, 2, dtype=dtype), max_epochs=2, device="cpu", random_state=0)
    fitted.fit(X.astype(data_dtype), y)
    probabilities = fitted.predict_proba(X.astype(data_dtype))
    assert set(seen) == {dtype}
    np.testing.assert_allclose(probabilities.sum(1).astype("float64"), 1, atol=0.01)


@pytest.fixture
def memory_map(tmp_path):
    """``memory_map(X)``: X as a read-only map of a file."""

    def make(X):
        path = tmp_path / f"X_{X.dtype.name}.dat"
        X.tofile(path)
        return np.memmap(path, dtype=X.dtype, mode="r", shape=X.shape)

    return make


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", ">f8"])
def test_memory_maps(memory_map, expected, dtype):
    X, y = small_integers()
    mapped = memory_map(X.astype(dtype))
    fitted = classifier(early_stopping=True).fit(mapped, y)
    np.testing.assert_allclose(fitted.predict_proba(mapped), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(mapped, X)


class Convolution(nn.Module):
    def __init__(self, input_shape, n_outputs):
        super().__init__()
        self.convolution = nn.Conv2d(input_shape[0], 4, 3)
        self.output = nn.LazyLinear(n_outputs)

    def forward(self, X):
        return self.output(self.convolution(X).relu().flatten(1))


@pytest.mark.parametrize("module", [None, Convolution])
@pytest.mark.parametrize(
    "to_kind", [np.asarray, np.asfortranarray, np.ndarray.tolist, torch.tensor]
)
def test_images(module, to_kind):
    X = np.random.RandomState(0).rand(30, 2, 5, 4).astype("float32")
    y = (X[:, 0].mean((1, 2)) > 0.5).astype(int)
    settings = {"max_epochs": 2, "batch_size": 8, "random_state": 0, "device": "cpu"}
    settings |= {"module__dtype": torch.float32} if module is None else {}
    reference = TorchClassifier(module, **settings).fit(X, y)
    fitted = TorchClassifier(module, **settings).fit(to_kind(X), y)
    assert fitted.input_shape_ == (2, 5, 4)
    np.testing.assert_allclose(
        fitted.predict_proba(to_kind(X)), reference.predict_proba(X), rtol=1e-5, atol=1e-6
    )
    with pytest.raises(ValueError, match=r"samples of shape \(2,\).*\(2, 5, 4\).*Reshape X"):
        fitted.predict(X[:, :, 0, 0])


class LastState(nn.Module):
    """Runs over sequences N x T x F of any length."""

    def __init__(self, input_shape, n_outputs):
        super().__init__()
        self.recurrent = nn.GRU(input_shape[-1], 6, batch_first=True)
        self.output = nn.Linear(6, n_outputs)

    def forward(self, X):
        _, state = self.recurrent(X)
        return self.output(state[-1])


def test_sequences():
    rng = np.random.RandomState(0)
    X = rng.randn(60, 7, 3)
    y = np.where(X[:, -1, 0] > 0, "up", "down")
    fitted = TorchClassifier(
        LastState, max_epochs=30, lr=0.03, batch_size=16, random_state=0, device="cpu"
    ).fit(X, y)
    assert fitted.input_shape_ == (7, 3)
    assert fitted.score(X, y) > 0.9
    assert fitted.predict_proba(X).shape == (60, 2)
    with pytest.raises(ValueError, match=r"samples of shape \(7,\).*\(7, 3\)"):
        fitted.predict(X[:, :, 0])


class Tokens(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.output = nn.Linear(8, n_outputs)

    def forward(self, X):
        return self.output(self.embedding(X).mean(1))


@pytest.mark.parametrize(
    "to_kind",
    [
        np.asarray,
        lambda X: X.astype("int32"),
        lambda X: X.astype("uint8"),
        lambda X: X.astype(f"{SWAPPED}i8"),
        np.ndarray.tolist,
        lambda X: pd.DataFrame(X, columns=list("abcdef")),
        torch.from_numpy,
        lambda X: torch.from_numpy(X).int(),
    ],
)
def test_token_ids_stay_integers(to_kind):
    X = np.random.RandomState(0).randint(0, 10, (40, 6))
    y = (X < 5).sum(1) > 3
    settings = {"max_epochs": 40, "lr": 0.03, "random_state": 0, "device": "cpu"}
    reference = TorchClassifier(Tokens, **settings).fit(X, y)
    fitted = TorchClassifier(Tokens, **settings).fit(to_kind(X), y)
    assert fitted.score(to_kind(X), y) > 0.9
    np.testing.assert_array_equal(fitted.predict_proba(to_kind(X)), reference.predict_proba(X))


def test_token_ids_that_are_floats_are_refused():
    X, y = small_integers()
    with pytest.raises(ValueError, match=r"module Tokens does not take a batch of shape \(2, 5\)"):
        TorchClassifier(Tokens, max_epochs=1, device="cpu").fit(X, y)


class InPlace(nn.Module):
    """Works in place on what it is given."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.linear = nn.Linear(5, 2, dtype=dtype)

    def forward(self, X):
        return self.linear(X.mul_(2).sub_(3).relu_())


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("loader", [{}, {"iterator_train__num_workers": 0}])
@pytest.mark.parametrize(
    "to_kind",
    [
        np.array,
        np.asfortranarray,
        lambda X: torch.from_numpy(X.copy()),
        sparse.csr_array,
        lambda X: pd.DataFrame(X, columns=COLUMNS),
        with_gaps,
    ],
    ids=["array", "fortran", "tensor", "sparse", "pandas", "gaps"],
)
@pytest.mark.parametrize("batch_size", [16, 1000])
def test_a_module_that_works_in_place_changes_no_input(to_kind, loader, shuffle, batch_size):
    X, y = small_integers()
    given = to_kind(X)
    classifier = TorchClassifier(
        InPlace,
        max_epochs=2,
        early_stopping=True,
        batch_size=batch_size,
        device="cpu",
        random_state=0,
        iterator_train__shuffle=shuffle,
        **loader,
    )
    classifier.fit(given, y)
    np.testing.assert_array_equal(dense(given), X, err_msg="fit changed X")
    classifier.partial_fit(given, y)
    np.testing.assert_array_equal(dense(given), X, err_msg="partial_fit changed X")
    first = classifier.predict_proba(given)
    np.testing.assert_array_equal(dense(given), X, err_msg="predict_proba changed X")
    np.testing.assert_array_equal(classifier.predict_proba(given), first)


def dense(X):
    return X.toarray() if sparse.issparse(X) else np.asarray(X)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_come_back_as_tensors_where_scikit_learn_dispatches(dtype):
    X, y = (torch.from_numpy(part) for part in small_integers())
    X = X.to(dtype)
    plain = TorchClassifier(max_epochs=3, random_state=0, device="cpu").fit(X, y)
    with config_context(array_api_dispatch=True):
        fitted = TorchClassifier(max_epochs=3, random_state=0, device="cpu").fit(X, y)
        outputs = {
            name: getattr(fitted, name)(X)
            for name in ("predict", "predict_proba", "predict_log_proba", "decision_function")
        }
        assert fitted.score(X, y) == plain.score(X.numpy(), y.numpy())
    for name, output in outputs.items():
        assert isinstance(output, torch.Tensor), name
        assert not output.requires_grad
        without = getattr(plain, name)(X)
        assert isinstance(without, np.ndarray), name
        np.testing.assert_array_equal(output.numpy(), without)
    assert outputs["predict_proba"].dtype is dtype
    assert outputs["predict"].dtype is torch.int64


def test_string_labels_beside_tensors_where_scikit_learn_dispatches():
    X, y = small_integers()
    labels = np.array(["no", "yes"])[y]
    with config_context(array_api_dispatch=True):
        fitted = classifier().fit(torch.from_numpy(X), labels)
        predicted = fitted.predict(torch.from_numpy(X))
    assert isinstance(predicted, np.ndarray)
    np.testing.assert_array_equal(predicted, classifier().fit(X, labels).predict(X))


def test_arrays_stay_arrays_where_scikit_learn_dispatches():
    X, y = small_integers()
    expected = classifier().fit(X, y).predict_proba(X)
    with config_context(array_api_dispatch=True):
        probabilities = classifier().fit(X, y).predict_proba(X)
    assert isinstance(probabilities, np.ndarray)
    np.testing.assert_array_equal(probabilities, expected)


def test_tensors_go_through_pipelines_and_searches():
    X, y = small_integers()
    steps = make_pipeline(StandardScaler(), classifier())
    expected = cross_val_score(steps, X, y, cv=3)
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    with config_context(array_api_dispatch=True):
        scores = cross_val_score(steps, X, y, cv=3)
        search = GridSearchCV(steps, {"torchclassifier__lr": [1e-3, 1e-2]}, cv=3).fit(X, y)
        predicted = search.predict(X)
    np.testing.assert_allclose(scores, expected)
    assert isinstance(predicted, torch.Tensor)
    assert search.best_score_ >= scores.mean()


def test_many_rows_are_predicted_in_pieces():
    X = np.random.RandomState(0).randn(2000, 3, 40, 40).astype("float32")
    heights = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide = nn.Conv2d(3, 64, 1)
            self.output = nn.Linear(64, 2)

        def forward(self, X):
            heights.append(len(X))
            return self.output(self.wide(X).amax((2, 3)))

    fitted = TorchClassifier(Watched(), max_epochs=1, device="cpu").fit(X[:20], np.arange(20) % 2)
    heights.clear()
    probabilities = fitted.predict_proba(X)
    assert sum(heights) == 2000
    assert len(heights) > 1
    np.testing.assert_allclose(probabilities[-3:], fitted.predict_proba(X[-3:]), rtol=1e-5)


class Positions(nn.Module):
    """Keeps a table that it makes when it first needs it, as rotary encodings do."""

    def __init__(self):
        super().__init__()
        self.table = torch.zeros(0)
        self.before, self.output = nn.Conv1d(1, 4, 1), nn.Linear(4, 2)

    def forward(self, X):
        if len(self.table) < X.shape[2]:
            self.table = torch.linspace(0, 1, X.shape[2])
        return self.output((self.before(X) * self.table[: X.shape[2]]).mean(2))


def test_what_a_module_keeps_from_a_prediction_serves_in_training():
    X = np.random.RandomState(0).rand(20, 1, 30).astype("float32")
    y = np.arange(20) % 2
    fitted = TorchClassifier(Positions(), max_epochs=1, device="cpu").fit(X[:, :, :10], y)
    fitted.predict(X)
    assert fitted.partial_fit(X, y).n_epochs_ == 2
