"""The net of all members: shapes, rows of their own, and what its parts see."""

import numpy as np
import pytest
import torch

from sktorch.modules import rank_knots
from sktorch.tabular._net import MAX_FREQUENCIES, MAX_WAVES, TabularNet, frequencies_for

CARDINALITIES = (0, 0, 4, 0)  # two numbers, codes, and a column of 0 and 1
NUMERIC = (0, 1)
KNOTS = rank_knots(np.random.default_rng(0).standard_normal((50, 2)).astype(np.float32))


def table(n_rows=6, n_members=None):
    torch.manual_seed(0)
    shape = (n_rows,) if n_members is None else (n_members, n_rows)
    X = torch.randn(*shape, 4)
    X[..., 2] = torch.randint(0, 4, shape).float()
    X[..., 3] = torch.randint(0, 2, shape).float()
    return X


def net(hidden=(8, 8), numeric=NUMERIC, n_frequencies=2, n_outputs=3, feature_dropout=0.0):
    torch.manual_seed(1)
    net = TabularNet(
        CARDINALITIES, numeric, KNOTS, n_outputs, 5, hidden, feature_dropout, n_frequencies
    )
    with torch.no_grad():  # Outputs start at zero.
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net.eval()


@pytest.mark.parametrize("hidden", [(), (8,), (8, 7), (8, 7, 6)])
@pytest.mark.parametrize(("numeric", "n_frequencies"), [(NUMERIC, 2), ((), 0)])
def test_members_have_outputs_of_their_own(hidden, numeric, n_frequencies):
    model, X = net(hidden, numeric, n_frequencies), table()
    outputs = model(X)
    assert outputs.shape == (6, 5, 3)
    assert not torch.allclose(outputs[:, 0], outputs[:, 1])


@pytest.mark.parametrize("hidden", [(), (8,), (8, 7)])
def test_rows_of_their_own_have_the_outputs_of_rows_that_are_shared(hidden):
    model, X = net(hidden), table(n_members=5)
    apart = model.forward_apart(X)
    assert apart.shape == (6, 5, 3)
    for k in range(5):
        torch.testing.assert_close(apart[:, k], model(X[k])[:, k])


def test_members_start_with_outputs_of_zero():
    model = TabularNet(CARDINALITIES, NUMERIC, KNOTS, 3, 5, (8,), 0.0, 2)
    assert not model(table()).any()


def test_each_members_outputs_are_scaled_by_a_factor_of_its_own():
    model, X = net(), table()
    before, factors = model(X), torch.tensor([1.0, 2.0, 0.5, 1.0, 0.1])
    model.scale_outputs(factors)
    torch.testing.assert_close(model(X), before * factors[:, None])


def test_dropped_features_are_dropped_for_all_rows_and_for_no_row_in_eval_mode():
    model, X = net((), (), 0, feature_dropout=0.5), table()
    torch.testing.assert_close(model(X), model(X))
    model.train()
    torch.manual_seed(0)
    first, second = model(X), model(X)
    assert not torch.allclose(first, second)
    X = X[:1].repeat(6, 1)
    assert model(X).var(0).max() < 1e-10


def test_codes_that_are_not_known_are_looked_up_as_unknown():
    model, X = net(), table()
    unknown = X.clone()
    X[:, 2], unknown[:, 2] = 0, 17
    torch.testing.assert_close(model(unknown), model(X))


@pytest.mark.parametrize(
    ("n_rows", "n_columns"),
    [(1, 1), (10, 3), (100, 3), (10**6, 1), (10**6, 400), (9, 0)],
)
def test_frequencies_grow_with_rows_and_are_limited(n_rows, n_columns):
    n_frequencies = frequencies_for(n_rows, n_columns)
    assert 0 <= n_frequencies <= MAX_FREQUENCIES
    assert 2 * n_frequencies * n_columns <= MAX_WAVES
    assert n_frequencies <= frequencies_for(8 * n_rows, n_columns)
    assert (n_frequencies == 0) == (n_columns == 0)


def test_very_many_columns_get_no_waves():
    assert frequencies_for(10**6, MAX_WAVES) == 0
