"""Odd inputs, targets, weights and parameters: a right answer, or an error that names the argument.

2,000 fits a run, the same ones every time; `SKTORCH_FUZZ=20000 pytest tests/test_fuzz.py` tries as
many others. Each example draws rows, targets, weights and a few parameters, each of them
usual or odd, fits and predicts. It must hold:

- the answers are finite and of the right shape, or a ValueError or TypeError says what was wrong;
- generators, threads, flags and the caller's arrays are as they were;
- a fitted estimator is as it was, and usable, after a fit that failed.
"""

import copy
import os
import random
import re
import warnings
from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.exceptions import NotFittedError

from sktorch import TorchClassifier, TorchRegressor

KINDS = [TorchClassifier, TorchRegressor]
N_EXAMPLES = int(os.environ.get("SKTORCH_FUZZ", "2000"))
FUZZ = settings(
    max_examples=N_EXAMPLES // 2,  # for each of the two estimators
    deadline=None,
    derandomize="SKTORCH_FUZZ" not in os.environ,
    database=None,
    phases=[Phase.explicit, Phase.generate] + [Phase.shrink] * ("SKTORCH_FUZZ" in os.environ),
    suppress_health_check=[*HealthCheck],
)
# What an error may be about. Each message has to hold one of the words of an argument at fault.
WORDS = {
    "X": r"\bX\b|[Aa]rray|sample|feature|row|dataset|sequence|shape|train_loss|entr",
    "y": r"\by\b|\by_|target|label|class|sample|inconsistent|train_loss",
    "sample_weight": r"weight|sample|inconsistent|train_loss",
}


def numbers(n, *, shape=(3,), low=-3, high=3, seed=0):
    return np.random.default_rng(seed).uniform(low, high, (n, *shape))


def placed(values, value):
    """The values with another one somewhere."""
    values = np.array(values, dtype=np.result_type(values, type(value)))
    values.flat[values.size // 2] = value
    return values


USUAL_X = {
    "float64": lambda n: numbers(n),
    "float32": lambda n: numbers(n).astype(np.float32),
    "float16": lambda n: numbers(n).astype(np.float16),
    "ints": lambda n: numbers(n).astype(int),
    "uint8": lambda n: numbers(n, low=0).astype(np.uint8),
    "bool": lambda n: numbers(n) > 0,
    "list": lambda n: numbers(n).tolist(),
    "tensor": lambda n: torch.from_numpy(numbers(n)),
    "float16 tensor": lambda n: torch.from_numpy(numbers(n)).half(),
    "bfloat16 tensor": lambda n: torch.from_numpy(numbers(n)).bfloat16(),
    "tensor with gradients": lambda n: torch.from_numpy(numbers(n)).requires_grad_(),
    "DataFrame": lambda n: pd.DataFrame(numbers(n), columns=[*"abc"]),
    "polars": lambda n: pl.DataFrame(numbers(n), schema=[*"abc"]),
    "csr": lambda n: sparse.csr_array(numbers(n)),
    "coo matrix": lambda n: sparse.coo_matrix(numbers(n)),
    "images": lambda n: numbers(n, shape=(1, 4, 4)),
    "fortran": lambda n: np.asfortranarray(numbers(n)),
    "reversed": lambda n: numbers(n)[::-1],
    "strided": lambda n: numbers(2 * n)[::2],
    "broadcast": lambda n: np.broadcast_to(numbers(1), (n, 3)),
    "big endian": lambda n: numbers(n).astype(">f4"),
    "read only": lambda n: _read_only(numbers(n)),
    "one column": lambda n: numbers(n, shape=(1,)),
    "objects that are numbers": lambda n: numbers(n).astype(object),
    "constant": lambda n: np.zeros((n, 3)),
    "subnormal": lambda n: np.full((n, 3), 1e-310),
    "masked": lambda n: np.ma.masked_array(numbers(n)),
    "matrix of ints beyond float32": lambda n: numbers(n).astype(int) + 2**24,
}
ODD_X = {
    "NaN": lambda n: placed(numbers(n), np.nan),
    "infinity": lambda n: placed(numbers(n), np.inf),
    "NaN in float32": lambda n: placed(numbers(n), np.nan).astype(np.float32),
    "NaN in a tensor": lambda n: torch.from_numpy(placed(numbers(n), np.nan)),
    "beyond float32": lambda n: numbers(n) * 1e300,
    "at the end of float32": lambda n: (numbers(n) * 1e38).astype(np.float32),
    "words": lambda n: np.array([["a", "b", "c"]] * n),
    "numbers as text": lambda n: numbers(n).round(2).astype(str),
    "None": lambda n: None,
    "None somewhere": lambda n: placed(numbers(n).astype(object), None),
    "complex": lambda n: numbers(n) * 1j,
    "dates": lambda n: np.full((n, 2), np.datetime64("2026-01-01")),
    "one dimension": lambda n: numbers(n)[:, 0],
    "scalar": lambda n: 3.0,
    "no rows": lambda n: numbers(0),
    "no columns": lambda n: numbers(n, shape=(0,)),
    "a row too many": lambda n: numbers(n + 1),
    "word": lambda n: "table",
    "generator": lambda n: iter(numbers(n)),
    "set": lambda n: {1, 2},
    "dict": lambda n: {"X": numbers(n)},
    "empty dict": lambda n: {},
    "ragged": lambda n: [numbers(1 + i % 3) for i in range(n)],
    "ragged lists": lambda n: [[1.0] * (1 + i % 3) for i in range(n)],
    "sparse tensor": lambda n: torch.from_numpy(numbers(n)).to_sparse(),
    "meta tensor": lambda n: torch.ones(n, 3, device="meta"),
    "DataFrame of words": lambda n: pd.DataFrame({"a": ["x"] * n}),
    "Series": lambda n: pd.Series(numbers(n)[:, 0]),
    "sparse NaN": lambda n: sparse.csr_array(placed(numbers(n), np.nan)),
    "int64 at its limit": lambda n: np.full((n, 3), np.iinfo(np.int64).max),
    "uint64 at its limit": lambda n: np.full((n, 3), np.iinfo(np.uint64).max),
}
USUAL_LABELS = {
    "codes": lambda n: np.arange(n) % 3,
    "two classes": lambda n: np.arange(n) % 2,
    "names": lambda n: np.array(["b", "a"])[np.arange(n) % 2],
    "bool": lambda n: np.arange(n) % 2 == 0,
    "list": lambda n: (np.arange(n) % 2).tolist(),
    "list of names": lambda n: ["ab"[i % 2] for i in range(n)],
    "objects": lambda n: np.array(["ab"[i % 2] for i in range(n)], dtype=object),
    "tensor": lambda n: torch.arange(n) % 3,
    "whole floats": lambda n: np.arange(n) % 2 + 0.0,
    "negative": lambda n: np.arange(n) % 3 - 5,
    "int8": lambda n: (np.arange(n) % 3).astype(np.int8),
    "uint64": lambda n: (np.arange(n) % 3).astype(np.uint64),
    "Series": lambda n: pd.Series(np.arange(n) % 2),
    "categories": lambda n: pd.Series(pd.Categorical(["ab"[i % 2] for i in range(n)])),
    "polars": lambda n: pl.Series((np.arange(n) % 2).tolist()),
    "indicators": lambda n: np.stack([np.arange(n) % 2, np.arange(n) % 3 == 0], 1).astype(int),
    "columns of labels": lambda n: np.stack([np.arange(n) % 2, np.arange(n) % 3], 1),
    "one class": lambda n: np.zeros(n, int),
    "as many classes as rows": lambda n: np.arange(n),
    "large": lambda n: np.arange(n) % 2 + 2**60,
}
USUAL_NUMBERS = {
    "float64": lambda n: numbers(n)[:, 0],
    "float32": lambda n: numbers(n)[:, 0].astype(np.float32),
    "float16": lambda n: numbers(n)[:, 0].astype(np.float16),
    "ints": lambda n: np.arange(n),
    "bool": lambda n: np.arange(n) % 2 == 0,
    "list": lambda n: numbers(n)[:, 0].tolist(),
    "tensor": lambda n: torch.from_numpy(numbers(n)[:, 0]),
    "Series": lambda n: pd.Series(numbers(n)[:, 0]),
    "polars": lambda n: pl.Series(numbers(n)[:, 0]),
    "two columns": lambda n: numbers(n, shape=(2,)),
    "one column": lambda n: numbers(n, shape=(1,)),
    "constant": lambda n: np.full(n, 7.0),
    "large": lambda n: 1e6 + numbers(n)[:, 0],
    "tiny": lambda n: 1e-30 * numbers(n)[:, 0],
}
ODD_Y = {
    "NaN": lambda n: placed(numbers(n)[:, 0], np.nan),
    "infinity": lambda n: placed(numbers(n)[:, 0], np.inf),
    "None": lambda n: None,
    "None somewhere": lambda n: placed(np.array(["a"] * n, dtype=object), None),
    "beyond float32": lambda n: 1e39 * numbers(n)[:, 0],
    "beyond squares": lambda n: 1e300 * numbers(n)[:, 0],
    "a row too many": lambda n: np.arange(n + 1) % 2,
    "a row too few": lambda n: np.arange(n - 1) % 2,
    "none at all": lambda n: np.array([]),
    "scalar": lambda n: 1,
    "word": lambda n: "label",
    "complex": lambda n: numbers(n)[:, 0] * 1j,
    "dates": lambda n: np.full(n, np.datetime64("2026-01-01")),
    "continuous": lambda n: numbers(n)[:, 0],
    "ragged": lambda n: [[1] * (1 + i % 2) for i in range(n)],
    "dict": lambda n: {"y": np.arange(n)},
    "no columns": lambda n: np.zeros((n, 0)),
    "three dimensions": lambda n: np.zeros((n, 2, 2, 2)),
    "meta tensor": lambda n: torch.ones(n, device="meta"),
    "sparse": lambda n: sparse.csr_array(np.eye(n)),
    "numbers and names": lambda n: np.array([1, "a"] * n, dtype=object)[:n],
}
USUAL_WEIGHTS = {
    "none": lambda n: None,
    "ones": lambda n: np.ones(n),
    "uneven": lambda n: np.arange(n) + 1,
    "some zero": lambda n: (np.arange(n) + 1) % 2 + 0.0,
    "list": lambda n: [1] * n,
    "tensor": lambda n: torch.ones(n),
    "a number": lambda n: 2.0,
    "float16": lambda n: np.ones(n, np.float16),
    "Series": lambda n: pd.Series(np.ones(n)),
    "tiny": lambda n: np.full(n, 1e-300),
}
ODD_WEIGHTS = {
    "zero": lambda n: np.zeros(n),
    "negative": lambda n: -np.ones(n),
    "NaN": lambda n: placed(np.ones(n), np.nan),
    "infinite": lambda n: placed(np.ones(n), np.inf),
    "sum overflows": lambda n: np.full(n, 1e308),
    "too many": lambda n: np.ones(n + 1),
    "columns": lambda n: np.ones((n, 2)),
    "word": lambda n: "balanced",
    "words": lambda n: ["a"] * n,
    "complex": lambda n: np.ones(n) * 1j,
    "dict": lambda n: {0: 1},
    "one row only": lambda n: np.arange(n) == 0,
}
# Values of parameters, usual and odd; an odd one may be refused by an error that names it.
USUAL_VALUES = {
    "lr": [1e-3, 0.1, np.float32(0.01), 1],
    "batch_size": [1, 2, 7, np.int64(4), 1000],
    "max_epochs": [1, 2, np.int64(1)],
    "optimizer": ["sgd", "adam", "rmsprop", "Adam_W", torch.optim.Adagrad],
    "lr_schedule": [None, "cosine", "one_cycle", "plateau"],
    "early_stopping": [True, False],
    "gradient_clip": [None, 1.0, 1],
    "gradient_accumulation": [1, 3],
    "tol": [0, 1e-3, -np.inf],
    "n_iter_no_change": [1, np.inf],
    "warm_start": [True, False],
    "module__hidden": [(), 3, (4, 2)],
    "module__dropout": [0.0, 0.5],
    "module__normalization": [None, "layer", "batch"],
    "initializer": [None, "zeros", "xavier_uniform"],
    "data_placement": ["auto", "source"],
    "random_state": [0, None, np.random.RandomState(0)],
    "callbacks": [None, []],
    "verbose": [0],
    "iterator_train__drop_last": [False],
    "augment": [None, torch.clone],
}
ODD_VALUES = {
    "lr": [0, -1, np.nan, np.inf, "fast", None, 1e38, [0.1], True],
    "batch_size": [0, -1, 2.5, "all", None, np.nan],
    "max_epochs": [-1, 1.5, "many", None],
    "optimizer": ["", "adamm", 3, None, int, torch.nn.Linear],
    "criterion": ["", "crossentropi", 3, None, int, torch.nn.Linear, lambda o, t: None],
    "lr_schedule": ["", "cosinus", 3, int],
    "early_stopping": ["yes", 2, None],
    "validation_fraction": [0, 1, 1.5, -0.1, None, "half", np.nan],
    "gradient_clip": [0, -1, np.nan, "x"],
    "gradient_accumulation": [0, 1.5, None],
    "tol": [np.nan, None, "x"],
    "n_iter_no_change": [0, -1, np.nan, None],
    "module": [3, "mlp", torch.nn.ReLU, lambda: None, int],
    "module__hidden": [0, -1, "x", None, 1.5],
    "module__dropout": [-1, 2, "x", None],
    "module__normalization": ["x", 3],
    "module__activation": ["x", 3, None],
    "initializer": ["x", {}, {"nothing": "zeros"}],
    "data_placement": ["gpu", None],
    "precision": ["double", None, 16],
    "random_state": ["x", -1, 2**40, 1.5],
    "callbacks": [3, "x", [None], [3]],
    "device": ["x", 3, None, "cuda:77"],
    "class_weight": ["x", {7: 1}, 3, {0: -1}],
    "scale_target": ["x", None],
    "scoring": ["x", 3, ["accuracy", "accuracy"]],
    "monitor": ["x", 3],
    "validation": [3, "x", (), (1, 2)],
    "augment": [3, "x", lambda X: None],
    "optimizer__betas": [(0.9,), 3, "x"],
    "optimizer__weight_decay": [-1, "x", None, np.nan],
    "optimizer__param_groups": [[("nothing", {})], 3, "x"],
    "iterator_train__num_workers": [-1, "x", None],
    "iterator_train__timeout": [5, -1, "x"],
    "iterator_train__batch_size": [0, -1, "x"],
    "iterator_valid__drop_last": [True],
}


def _read_only(values):
    values.flags.writeable = False
    return values


def of(usual, odd):
    """Mostly a usual value: an example with one fault says more than one with four."""
    return st.integers(0, 3).flatmap(
        lambda number: (
            st.sampled_from([(name, False) for name in sorted(usual)])
            if number
            else st.sampled_from([(name, True) for name in sorted(odd)])
        )
    )


@st.composite
def examples(draw, kind):
    targets = USUAL_LABELS if kind is TorchClassifier else USUAL_NUMBERS
    parts, odd = {}, []
    n = draw(st.sampled_from([1, 2, 3, 5, 9, 16]))
    for argument, usual, unusual in (
        ("X", USUAL_X, ODD_X),
        ("y", targets, ODD_Y),
        ("sample_weight", USUAL_WEIGHTS, ODD_WEIGHTS),
    ):
        name, is_odd = draw(of(usual, unusual))
        parts[argument] = name, (unusual if is_odd else usual)[name](n)
        odd += [argument] * is_odd
    values = {}
    for name in draw(st.lists(st.sampled_from(sorted(USUAL_VALUES)), max_size=3, unique=True)):
        values[name] = draw(st.sampled_from(USUAL_VALUES[name]))
    if draw(st.integers(0, 3)) == 0:
        name = draw(st.sampled_from(sorted(ODD_VALUES)))
        values[name] = draw(st.sampled_from(ODD_VALUES[name]))
        odd.append(name)
    return n, parts, values, odd


def state_of_the_process():
    _, keys, position, *rest = np.random.get_state()
    return {
        "python": hash(random.getstate()),
        "numpy": (keys.tobytes(), position, rest),
        "torch": torch.get_rng_state().numpy().tobytes(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "matmul": torch.get_float32_matmul_precision(),
        "subnormals": float(torch.tensor(1e-40) * 1) != 0,
        "errors of numpy": np.geterr(),
    }


def dense(values):
    """Bytes of what was passed, to see whether it was written to; None where they can't be had."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values.tobytes()
    if isinstance(values, pd.DataFrame | pd.Series):
        return values.to_numpy().tobytes() if values.dtypes is not object else None
    if isinstance(values, torch.Tensor) and values.device.type == "cpu" and not values.is_sparse:
        return values.detach().float().numpy().tobytes()
    return None


def check_message(error, arguments):
    """An error has to name what was wrong, where something was."""
    message = str(error)
    if not arguments:
        return
    words = [WORDS.get(name, re.escape(name.rpartition("__")[2])) for name in arguments]
    assert any(re.search(word, message) for word in words), (arguments, message)


def check_answers(fitted, X, n, y, *, resumed):
    """Answers are finite and shaped like y (of the first fit, where training goes on)."""
    predicted = np.asarray(fitted.predict(X))
    assert len(predicted) == n
    is_column = np.shape(y)[1:] == (1,)  # answered by a flat array, as in scikit-learn
    assert resumed or is_column or predicted.ndim == np.ndim(y)
    if isinstance(fitted, TorchRegressor):
        assert np.isfinite(predicted).all()
        return
    p = fitted.predict_proba(X)
    for part in p if isinstance(p, list) else [p]:
        assert len(part) == n
        assert np.isfinite(part).all()
        assert (part >= 0).all()
        assert (part <= 1 + 1e-6).all()
    if np.ndim(y) == 1:
        assert p.shape == (n, len(fitted.classes_))
        np.testing.assert_allclose(p.sum(1), 1, atol=1e-4)
        assert np.isin(predicted, fitted.classes_).all()


# Known good, to be fitted before the odd fit, and asked after it.
GOOD = numbers(12).astype(np.float32)


@cache
def usable(kind):
    """Return a fitted estimator, and what it predicts."""
    fitted = kind(max_epochs=1, random_state=0, module__hidden=3).fit(GOOD, np.arange(12) % 2)
    return fitted, fitted.predict(GOOD)


@pytest.mark.parametrize("kind", KINDS)
@settings(FUZZ)
@given(data=st.data())
def test_odd_arguments_are_answered_or_named(kind, data):
    n, parts, values, odd = data.draw(examples(kind))
    (_, X), (_, y), (_, weights) = (parts[name] for name in ("X", "y", "sample_weight"))
    before_arguments = [dense(part) for part in (X, y, weights)]
    fitted, known = usable(kind)
    fresh = copy.deepcopy(fitted) if "warm_start" in values else kind()
    defaults = {"max_epochs": 1, "random_state": 0, "batch_size": 8}
    before = state_of_the_process()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fresh.set_params(**defaults | values)
            fresh.fit(X, y, sample_weight=weights)
            check_answers(fresh, X, n, y, resumed="warm_start" in values)
        except (ValueError, TypeError) as error:
            # What goes on from a fit may not fit rows and labels of another kind.
            check_message(error, odd + ["X", "y"] * ("warm_start" in values))
            if "warm_start" in values:
                for name in values:
                    if name.startswith("iterator_valid"):
                        delattr(fresh, name)
                if hasattr(fresh, "net_") and fresh.n_epochs_ == 1:
                    np.testing.assert_array_equal(fresh.predict(GOOD), known)
            else:
                with pytest.raises(NotFittedError):
                    fresh.predict(GOOD)
    after = state_of_the_process()
    assert [name for name in before if before[name] != after[name]] == []
    assert [dense(part) for part in (X, y, weights)] == before_arguments


@pytest.mark.parametrize("kind", KINDS)
@settings(FUZZ, max_examples=N_EXAMPLES // 4)
@given(data=st.data())
def test_odd_rows_are_predicted_or_named(kind, data):
    n, parts, _, _ = data.draw(examples(kind))
    (_, X), (_, y) = parts["X"], parts["y"]
    fitted, known = usable(kind)
    before, given_before = state_of_the_process(), dense(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for call in (lambda: fitted.predict(X), lambda: fitted.score(X, y)):
            try:
                answer = np.asarray(call())
            except (ValueError, TypeError) as error:
                check_message(error, ["X", "y"])  # usual rows may be of another shape than fitted
            else:
                assert answer.ndim == 0 or len(answer) == n + (parts["X"][0] == "a row too many")
    after = state_of_the_process()
    assert [name for name in before if before[name] != after[name]] == []
    assert dense(X) == given_before
    np.testing.assert_array_equal(fitted.predict(GOOD), known)
