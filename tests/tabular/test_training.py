"""Members never see the rows that they hold out, and are kept as they were at their best."""

from functools import partial

import numpy as np
import pytest
import torch

from sktorch.modules import rank_knots
from sktorch.tabular._net import TabularNet
from sktorch.tabular._tasks import Classification, Regression
from sktorch.tabular._training import BestMembers, HeldOut, MembersLoss, Plan, Table, train_members
from sktorch.training.randomness import RandomStream

N, K = 60, 3
CPU = torch.device("cpu")
SQUARED = Regression("squared_error")


def table(held_out_by=None, weights=None):
    random = np.random.default_rng(0)
    X = random.standard_normal((N, 2)).astype(np.float32)
    y = X[:, 0] + X[:, 1] ** 2
    members = np.arange(N) % K if held_out_by is None else held_out_by
    return Table(*map(torch.as_tensor, (X, y)), weights, torch.as_tensor(members))


def net_of(n_outputs=1, feature_dropout=0.0):
    torch.manual_seed(0)
    return TabularNet(
        (0, 0), (0, 1), rank_knots(table().values.numpy()), n_outputs, K, (8,), feature_dropout, 2
    )


def trained(rows, task=SQUARED, **plan):
    """Return a net that was trained, its history, and its outputs for held-out rows."""
    plan = {"n_epochs": 5, "batch_size": 16, "lr": 0.02, "weight_decay": 0.01} | plan
    net = net_of(task.n_outputs, feature_dropout=0.2)
    stream = RandomStream(0, CPU)
    plan = Plan(**{"time_limit": None} | plan)
    return net, *train_members(net, task, rows, plan, stream)


def state_of_member(net, k):
    return {name: parameter[k].detach() for name, parameter in net.members.named_parameters()}


@pytest.mark.parametrize("batch_size", [16, 60])
def test_a_member_never_sees_what_it_holds_out(batch_size):
    before, after = table(), table()
    after.y[7] += 100.0  # held out by the member 1
    nets = [trained(rows, n_epochs=1, batch_size=batch_size)[0] for rows in (before, after)]
    for k in range(K):
        first, second = (state_of_member(net, k) for net in nets)
        is_same = all(torch.equal(first[name], second[name]) for name in first)
        assert is_same == (k == 1)


def test_the_loss_of_members_leaves_out_what_they_hold_out():
    output, y = torch.randn(4, K, 1), torch.randn(4)
    held_out_by = torch.tensor([0, 1, 2, 0])
    target = torch.stack([y, held_out_by.float()], dim=1)
    by_hand = torch.stack(
        [
            sum((output[row, k, 0] - y[row]) ** 2 for k in range(K) if k != held_out_by[row])
            for row in range(4)
        ]
    )
    losses = MembersLoss(SQUARED, K, "none")(output, target)
    torch.testing.assert_close(losses, by_hand)
    torch.testing.assert_close(MembersLoss(SQUARED, K)(output, target), by_hand.mean())


@pytest.mark.parametrize("weights", [None, torch.rand(N)])
def test_held_out_rows_are_predicted_by_the_member_that_holds_them_out(weights):
    rows = table(np.minimum(np.arange(N) // 10, K - 1), weights)  # folds of 10, 10 and 40 rows
    net, held_out = net_of(), HeldOut(rows, K)
    torch.nn.init.normal_(net.members.member.last.weight)
    net.eval()
    torch.testing.assert_close(held_out.weights.sum(0), torch.ones(K))
    outputs = held_out.of_rows(held_out.outputs(net))
    expected = net(rows.values)[torch.arange(N), rows.held_out_by]
    torch.testing.assert_close(outputs, expected)


def test_a_member_without_rows_to_hold_out_is_judged_by_all():
    held_out = HeldOut(table(np.arange(N) % (K - 1)), K)
    assert sorted(held_out.index[:, K - 1].tolist()) == [*range(N)]
    torch.testing.assert_close(held_out.weights.sum(0), torch.ones(K))
    net, history, outputs = trained(table(np.arange(N) % (K - 1)))
    assert np.isfinite([row["valid_risk"] for row in history]).all()
    assert torch.isfinite(outputs).all()
    assert all(torch.isfinite(parameter).all() for parameter in net.parameters())


def test_each_member_is_kept_as_it_was_at_its_own_best_epoch():
    net, states = net_of(), []
    best = BestMembers(net)
    for risks in ([1.0, 5.0, np.nan], [2.0, 4.0, 1.0], [0.5, 6.0, 3.0], [0.7, 4.5, np.nan]):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn_like(parameter))
        states.append([state_of_member(net, k) for k in range(K)])
        states[-1] = [{name: t.clone() for name, t in state.items()} for state in states[-1]]
        number = float(len(states))
        best.update(torch.tensor(risks), factors=torch.full((K,), number))
    kept = best.restore()
    assert best.risks.tolist() == [0.5, 4.0, 1.0]
    assert kept["factors"].tolist() == [3.0, 2.0, 2.0]
    for k, epoch in enumerate([2, 1, 1]):
        for name, tensor in state_of_member(net, k).items():
            assert torch.equal(tensor, states[epoch][k][name])


def test_the_estimate_is_that_of_one_epoch_for_all_members():
    rows, plan = table(), {"lr": 0.5, "batch_size": 8}  # so large that losses rise again
    net, history, outputs = trained(rows, n_epochs=30, **plan)
    risks = [row["valid_risk"] for row in history]
    assert np.argmin(risks) < len(history) - 1

    def risk_by_member(outputs):
        squares = (outputs[:, 0] - rows.y).square()
        return np.array([float(squares[rows.held_out_by == k].mean()) for k in range(K)])

    assert risk_by_member(outputs).mean() == pytest.approx(min(risks), rel=1e-5)
    held_out = HeldOut(rows, K)
    own = risk_by_member(held_out.of_rows(held_out.outputs(net)))
    assert (own <= risk_by_member(outputs) * (1 + 1e-5)).all()  # each at its own best epoch


def test_a_loss_that_is_never_finite_is_an_error():
    rows = table()
    rows.y[:] = torch.inf
    with pytest.raises(ValueError, match="not finite in any epoch"):
        trained(rows)


@pytest.mark.parametrize("task", [SQUARED, Classification(2, "log_loss")], ids=["y", "labels"])
def test_the_trained_members_are_better_than_at_any_one_epoch(task):
    rows = table()
    if task.n_outputs == 2:
        rows.y = (rows.y > 0.5).float()
    net, history, _ = trained(rows, task, n_epochs=40)
    assert not net.training
    held_out = HeldOut(rows, K)
    risks = task.risks(held_out.outputs(net), held_out.targets, held_out.weights)
    assert risks.mean() <= min(row["valid_risk"] for row in history) + 1e-6
    assert risks.mean() < history[0]["valid_risk"]


def test_the_history_tells_of_each_epoch():
    told = []
    _, history, _ = trained(table(), report=told.append)
    assert told == history
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5]
    assert all(row.keys() == {"epoch", "train_loss", "valid_risk", "lr", "dur"} for row in history)
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_the_rate_is_flat_for_half_of_the_way_and_falls_as_a_cosine():
    rates = [row["lr"] for row in trained(table(), n_epochs=10)[1]]
    falling = [0.5 * (1 + np.cos(np.pi * done / 5)) for done in range(5)]
    np.testing.assert_allclose(rates, 0.02 * np.array([1.0] * 5 + falling))


def test_a_time_limit_ends_training_with_a_rate_that_has_fallen():
    history = trained(table(), n_epochs=10**6, time_limit=0.3)[1]
    rates = [row["lr"] for row in history]
    assert 1 <= len(rates) < 10**6
    assert rates == sorted(rates, reverse=True)
    (last,) = trained(table(), n_epochs=10**6, time_limit=1e-9)[1]
    assert 0 <= last["lr"] < 1e-4


def test_a_time_limit_that_is_not_reached_changes_nothing():
    net, *_ = trained(table())
    other, *_ = trained(table(), time_limit=1e6)
    assert all(map(torch.equal, net.parameters(), other.parameters()))


def test_weights_are_those_of_repeated_rows():
    weights = torch.ones(N)
    weights[:K] = 3.0
    repeated = table()
    for name in ("values", "y", "held_out_by"):
        rows = getattr(repeated, name)
        setattr(repeated, name, torch.cat([rows, rows[:K], rows[:K]]))
    train = partial(trained, batch_size=1000, weight_decay=0.0)
    # Dropout draws the same numbers: it has a mask for each member, not for each row.
    weighted, first, _ = train(table(weights=weights / weights.mean()))
    expected, second, _ = train(repeated)
    for ours, theirs in zip(weighted.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    for ours, theirs in zip(first, second, strict=True):
        assert ours["valid_risk"] == pytest.approx(theirs["valid_risk"], rel=1e-4)
