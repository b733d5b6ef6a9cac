"""Several labels a row, as indicators."""

from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from scipy import sparse
from sklearn.neural_network import MLPClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.targets.samples import N_ROWS, net


def hand_written(X, Y, make_module):
    torch.manual_seed(0)
    module = make_module()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.02, fused=True)
    X, Y = torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(Y, dtype=torch.float32)
    for _ in range(4):
        for batch, target in DataLoader(TensorDataset(X, Y), batch_size=64, shuffle=True):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(module(batch), target).backward()
            optimizer.step()
    with torch.no_grad():
        return module(X).numpy()


def make_module():
    return nn.Sequential(nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 3))


def test_indicators_train_as_in_a_hand_written_loop(indicators):
    X, Y = indicators
    logits = hand_written(X, Y, make_module)
    fitted = net(module=make_module, max_epochs=4).fit(X.astype("float32"), Y)
    np.testing.assert_allclose(fitted.decision_function(X), logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fitted.predict_proba(X), 1 / (1 + np.exp(-logits)), rtol=1e-5)
    np.testing.assert_allclose(
        fitted.predict_log_proba(X), np.log(fitted.predict_proba(X)), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(fitted.predict(X), logits > 0)


def test_shapes_are_those_of_scikit_learns_network(indicators):
    X, Y = indicators
    ours = net(max_epochs=30).fit(X, Y)
    theirs = MLPClassifier(max_iter=30, learning_rate_init=0.02, tol=0, n_iter_no_change=30)
    with pytest.warns(UserWarning, match="hasn't converged"):
        theirs.fit(X, Y)
    assert ours.classes_.tolist() == theirs.classes_.tolist() == [0, 1, 2]
    for method in ("predict", "predict_proba", "predict_log_proba"):
        one, other = (getattr(model, method)(X) for model in (ours, theirs))
        assert one.shape == other.shape
        assert one.dtype == other.dtype
    assert ours.score(X, Y) > 0.95
    assert ours.score(X, Y) == (ours.predict(X) == Y).all(axis=1).mean()


KINDS = {
    "bool": lambda Y: Y.astype(bool),
    "int8": lambda Y: Y.astype("int8"),
    "float": lambda Y: Y.astype(float),
    "list": np.ndarray.tolist,
    "tuples": lambda Y: [tuple(row) for row in Y.tolist()],
    "csr": sparse.csr_array,
    "csc matrix": sparse.csc_matrix,
    "coo": sparse.coo_array,
    "DataFrame": pd.DataFrame,
    "bool DataFrame": lambda Y: pd.DataFrame(Y.astype(bool)),
    "polars": lambda Y: pl.DataFrame(Y),
    "tensor": torch.from_numpy,
    "bool tensor": lambda Y: torch.from_numpy(Y).bool(),
    "Fortran": np.asfortranarray,
}


@pytest.mark.parametrize("kind", KINDS)
def test_containers_of_indicators(indicators, kind):
    X, Y = indicators
    given = KINDS[kind](Y)
    fitted = net(max_epochs=2).fit(X, given)
    expected = net(max_epochs=2).fit(X, Y)
    np.testing.assert_array_equal(fitted.predict_proba(X), expected.predict_proba(X))
    assert fitted.predict(X).dtype == np.int64
    assert fitted.score(X, given) == expected.score(X, Y)


@pytest.mark.parametrize(
    "criterion",
    [
        "bce_with_logits",
        "multi_label_soft_margin",
        F.binary_cross_entropy_with_logits,
        F.multilabel_soft_margin_loss,
        nn.BCEWithLogitsLoss(pos_weight=torch.ones(3)),
    ],
)
def test_names_of_the_same_loss(indicators, criterion):
    X, Y = indicators
    expected = net().fit(X, Y)
    fitted = net(criterion=criterion).fit(X, Y)
    np.testing.assert_allclose(fitted.loss_curve_, expected.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(fitted.predict_proba(X), expected.predict_proba(X), rtol=1e-6)


@pytest.mark.parametrize("criterion", ["auto", "bce_with_logits"])
def test_pos_weight_of_indicators(indicators, criterion):
    X, Y = indicators
    weight = torch.tensor([1.0, 9.0, 0.1])
    fitted = net(criterion=criterion, criterion__pos_weight=weight).fit(X.astype("float32"), Y)
    by_hand = net(criterion=partial(F.binary_cross_entropy_with_logits, pos_weight=weight))
    by_hand.fit(X.astype("float32"), Y)
    np.testing.assert_allclose(fitted.predict_proba(X), by_hand.predict_proba(X), rtol=1e-5)
    plain = net().fit(X.astype("float32"), Y).predict_proba(X).mean(axis=0)
    weighted = fitted.predict_proba(X).mean(axis=0)
    assert weighted[1] > plain[1]
    assert weighted[2] < plain[2]


def test_pos_weight_is_for_indicators_only(digits, columns):
    for X, y in (digits, columns):
        estimator = net(criterion__pos_weight=torch.ones(3))
        with pytest.raises(TypeError, match=r"criterion__pos_weight=.* can't be used"):
            estimator.fit(X, y)
        assert not hasattr(estimator, "net_")


@pytest.mark.parametrize("value", [0, 1])
def test_a_label_that_all_rows_have_or_none(indicators, value):
    X, Y = indicators
    Y = np.column_stack([Y[:, 0], np.full(len(Y), value)])
    fitted = net().fit(X, Y)
    assert (fitted.predict(X)[:, 1] == value).all()
    assert fitted.predict_proba(X).shape == (N_ROWS, 2)


def test_indicators_in_parts(indicators):
    X, Y = indicators
    parts = net().partial_fit(X, Y, classes=[0, 1, 2])
    for _ in range(7):
        parts.partial_fit(X, Y)
    np.testing.assert_array_equal(parts.predict_proba(X), net().fit(X, Y).predict_proba(X))
