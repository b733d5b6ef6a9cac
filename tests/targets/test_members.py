"""Estimators of an `Ensemble` against modules trained by hand, one by one."""

import copy
import pickle

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sktorch import TorchClassifier, TorchRegressor
from sktorch.export import onnx
from sktorch.fused import trial
from sktorch.modules import MLP, Ensemble

N_MEMBERS = 3
SETTINGS = {
    "module__module": MLP,
    "module__n_members": N_MEMBERS,
    "module__hidden": (8,),
    "lr": 0.01,
    "max_epochs": 4,
    "batch_size": 32,
    "random_state": 0,
}


def classifier(**parameters):
    return TorchClassifier(Ensemble, **SETTINGS | parameters)


def regressor(**parameters):
    return TorchRegressor(Ensemble, **SETTINGS | parameters)


@pytest.fixture
def data(iris):
    return iris[0].astype(np.float32), iris[1]


def by_hand(X, y, n_outputs, loss_of_rows, weights=None):
    """Modules of the same initialisation, trained on the same batches, each by its own optimizer.

    A member's gradient in the ensemble is divided by their number, which Adam's epsilon notices.
    """
    torch.manual_seed(0)
    members = [MLP(X.shape[1], n_outputs, hidden=(8,)) for _ in range(N_MEMBERS)]
    optimizers = [torch.optim.AdamW(m.parameters(), lr=0.01, fused=True) for m in members]
    weights = torch.ones(len(X)) if weights is None else torch.tensor(weights).float()
    rows = TensorDataset(torch.tensor(X), y, weights / weights.mean())
    loader = DataLoader(rows, batch_size=32, shuffle=True)
    for _ in range(4):
        for batch, target, weight in loader:
            for member, optimizer in zip(members, optimizers, strict=True):
                optimizer.zero_grad()
                losses = loss_of_rows(member(batch), target).reshape(len(batch), -1).mean(1)
                ((losses * weight).mean() / N_MEMBERS).backward()
                optimizer.step()
    return members


def outputs_of(members, X):
    with torch.no_grad():
        return torch.stack([member(torch.tensor(X)) for member in members], dim=1)


WEIGHTS = np.random.default_rng(0).uniform(0.5, 2, 150)
CROSS_ENTROPY = nn.CrossEntropyLoss(reduction="none")
# Weights of the rows by fit's arguments, the estimator's parameters, and by hand.
WEIGHTED = {
    "no weights": (None, {}, None),
    "sample weights": (WEIGHTS, {}, lambda y: WEIGHTS),
    "class weights": (None, {"class_weight": {0: 3.0}}, lambda y: np.where(y == 0, 3.0, 1.0)),
}


@pytest.mark.parametrize(
    ("sample_weight", "parameters", "weights"), WEIGHTED.values(), ids=WEIGHTED.keys()
)
def test_members_are_those_trained_by_hand(data, sample_weight, parameters, weights):
    X, y = data
    members = by_hand(X, torch.tensor(y), 3, CROSS_ENTROPY, weights and weights(y))
    fitted = classifier(**parameters).fit(X, y, sample_weight)
    outputs = outputs_of(members, X)
    with torch.no_grad():
        torch.testing.assert_close(fitted.module_(torch.tensor(X)), outputs, rtol=1e-3, atol=1e-4)
    p = outputs.softmax(-1).mean(1).numpy()
    np.testing.assert_allclose(fitted.predict_proba(X), p, atol=1e-4)
    np.testing.assert_allclose(fitted.predict_log_proba(X), np.log(p), atol=1e-3)
    np.testing.assert_allclose(fitted.decision_function(X), np.log(p), atol=1e-3)
    np.testing.assert_array_equal(fitted.predict(X), fitted.predict_proba(X).argmax(axis=1))


def test_numbers_are_averaged(data):
    X, y = data[0][:, 1:], data[0][:, 0] * 5 + 3
    mean, scale = y.mean(dtype=float), y.std(dtype=float)
    target = torch.tensor(((y - mean) / scale).astype(np.float32)).unsqueeze(1)
    members = by_hand(X, target, 1, nn.MSELoss(reduction="none"))
    expected = outputs_of(members, X).mean(1)[:, 0].numpy() * scale + mean
    np.testing.assert_allclose(regressor().fit(X, y).predict(X), expected, rtol=1e-3)


def test_validation_judges_the_mean(data):
    X, y = data
    fitted = classifier(validation=(X[::3], y[::3]), scoring="neg_log_loss").fit(X, y)
    with torch.no_grad():
        outputs = fitted.module_(torch.tensor(X[::3]))
    p = outputs.softmax(-1).mean(1)
    target = torch.tensor(y[::3])
    of_members = [nn.functional.cross_entropy(part, target) for part in outputs.unbind(1)]
    row = fitted.history_[-1]
    assert row["valid_loss"] == pytest.approx(float(sum(of_members)) / N_MEMBERS, rel=1e-5)
    assert row["valid_acc"] == pytest.approx(float((p.argmax(1) == target).float().mean()))
    log_loss = nn.functional.nll_loss(p.log(), target)
    assert row["valid_neg_log_loss"] == pytest.approx(-float(log_loss), rel=1e-4)


@pytest.mark.parametrize("criterion", ["cross_entropy", "bce_with_logits"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_scores_agree_with_probabilities(data, criterion, n_classes):
    X, y = data[0], np.minimum(data[1], n_classes - 1)
    fitted = classifier(criterion=criterion).fit(X, y)
    scores, p = fitted.decision_function(X), fitted.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    if n_classes == 2:
        np.testing.assert_allclose(scores, np.log(p[:, 1] / p[:, 0]), atol=1e-4)
    else:
        np.testing.assert_allclose(scores, np.log(p), atol=1e-4)
    np.testing.assert_array_equal(fitted.predict(X), p.argmax(axis=1))


def test_indicators(data):
    X, y = data[0], np.stack([data[1] == 1, data[1] > 0], axis=1).astype(int)
    fitted = classifier(max_epochs=20).fit(X, y)
    with torch.no_grad():
        p = fitted.module_(torch.tensor(X)).sigmoid().mean(1).numpy()
    np.testing.assert_allclose(fitted.predict_proba(X), p, rtol=1e-5)
    np.testing.assert_allclose(fitted.decision_function(X), np.log(p / (1 - p)), atol=1e-3)
    np.testing.assert_array_equal(fitted.predict(X), p > 0.5)
    assert fitted.score(X, y) > 0.6


def test_columns_of_labels_and_margins(data):
    X, y = data
    columns = np.stack([y, np.where(y == 1, "a", "b")], axis=1)
    fitted = classifier(max_epochs=20).fit(X, columns)
    p = fitted.predict_proba(X)
    assert [part.shape for part in p] == [(150, 3), (150, 2)]
    codes = [part.argmax(axis=1) for part in p]
    for column, own, classes in zip(fitted.predict(X).T, codes, fitted.classes_, strict=True):
        np.testing.assert_array_equal(column, classes[own])
    margins = classifier(criterion="multi_margin", max_epochs=20).fit(X, y)
    assert margins.score(X, y) > 0.9
    with torch.no_grad():
        outputs = margins.module_(torch.tensor(X)).mean(1)
    np.testing.assert_allclose(margins.decision_function(X), outputs, rtol=1e-5)


class PerStep(nn.Module):
    """Scores of two classes for each of four steps."""

    def __init__(self):
        super().__init__()
        self.scores = nn.Linear(4, 8)

    def forward(self, X):
        return self.scores(X).reshape(len(X), 2, 4)


def test_labels_of_steps(data):
    X, y = data[0], (data[0] > 0).astype(int)
    fitted = TorchClassifier(Ensemble, module__module=PerStep, module__n_members=2, lr=0.1)
    fitted.set_params(max_epochs=30, random_state=0).fit(X, y + 3)
    assert fitted.module_(torch.tensor(X)).shape == (150, 2, 2, 4)
    assert fitted.predict_proba(X).shape == (150, 4, 2)
    assert fitted.score(X, y + 3) > 0.9


def test_a_distribution_is_the_mixture_of_the_members(data):
    X, y = data[0][:, 1:], data[0][:, 0]
    fitted = regressor(criterion="gaussian_nll", scale_target=False).fit(X, y)
    predicted, deviation = fitted.predict(X, return_std=True)
    with torch.no_grad():
        mean, raw = fitted.module_(torch.tensor(X)).unbind(-1)
    variance = (nn.functional.softplus(raw) + mean.square()).mean(1) - mean.mean(1).square()
    np.testing.assert_allclose(predicted, mean.mean(1), atol=1e-6)
    np.testing.assert_allclose(deviation, variance.sqrt(), rtol=1e-4)


@pytest.mark.parametrize("criterion", ["mse", "poisson_nll", "gaussian_nll"])
@pytest.mark.parametrize("n_targets", [1, 2])
def test_a_module_of_a_regressor_predicts_the_same(data, criterion, n_targets):
    X, y = data[0], np.abs(data[0][:, :n_targets]).squeeze()
    fitted = regressor(criterion=criterion).fit(X, y)
    alone = fitted.to_module()(torch.tensor(X)).detach().numpy()
    np.testing.assert_array_equal(alone, fitted.predict(X))
    assert alone.shape == y.shape


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_loss_of_ones_own_is_that_of_each_member(data, reduction):
    X, y = data
    calls = []

    def squared(output, target, reduction=reduction):
        calls.append(output.shape)
        losses = (output.softmax(-1) - nn.functional.one_hot(target, 3)).square().mean(1)
        return losses if reduction == "none" else getattr(losses, reduction)()

    fitted = classifier(criterion=squared).fit(X, y)
    assert {shape[1:] for shape in calls} == {(3,)}
    assert fitted.predict_proba(X).shape == (150, 3)
    by_torch = classifier(criterion__reduction=reduction).fit(X, y)
    with torch.no_grad():
        loss = by_torch.net_.criterion_(by_torch.module_(torch.tensor(X)), torch.tensor(y))
        outputs = by_torch.module_(torch.tensor(X)).unbind(1)
        alone = [nn.CrossEntropyLoss(reduction=reduction)(o, torch.tensor(y)) for o in outputs]
    torch.testing.assert_close(loss, sum(alone) / N_MEMBERS)


def test_other_modules_with_members(data):
    class Shared(nn.Module):
        """Heads of their own on one layer, as in TabM."""

        def __init__(self, n_features, n_outputs):
            super().__init__()
            self.n_members = 5
            self.body, self.heads = nn.Linear(n_features, 8), nn.Linear(8, 5 * n_outputs)

        def forward(self, X):
            return self.heads(self.body(X).relu()).reshape(len(X), 5, -1)

    fitted = TorchClassifier(Shared, max_epochs=20, lr=0.01, random_state=0).fit(*data)
    assert fitted.predict_proba(data[0]).shape == (150, 3)
    assert fitted.score(*data) > 0.8


def test_members_of_a_wrong_width_are_refused(data):
    with pytest.raises(ValueError, match=r"on 3 classes expects 3 column\(s\)"):
        classifier(module__n_outputs=2).fit(*data)


def test_it_goes_on_and_is_kept(data, tmp_path):
    X, y = data
    fitted = classifier(warm_start=True).fit(X, y)
    again = classifier(max_epochs=2, warm_start=True).fit(X, y).fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    for other in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))
    alone = fitted.to_module()(torch.tensor(X)).detach().numpy()
    np.testing.assert_array_equal(alone, fitted.predict_proba(X))
    assert (fitted.partial_fit(X, y).predict_proba(X) != alone).any()


@pytest.mark.parametrize("kind", [classifier, regressor])
def test_it_is_written_as_onnx(data, kind, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    X, y = data
    fitted = kind().fit(X, y)
    onnx(fitted, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    outputs = session.run(None, {session.get_inputs()[0].name: X})
    expected = fitted.predict_proba(X) if kind is classifier else fitted.predict(X)
    np.testing.assert_allclose(outputs[-1], expected, atol=1e-5)


@pytest.mark.parametrize("normalization", [None, "batch"])
def test_a_search_trains_ensembles_stacked(data, monkeypatch, capsys, normalization):
    for limit in ("MAX_TIME_RATIO", "MAX_ALONE_SECONDS"):  # No test depends on time.
        monkeypatch.setattr(trial, limit, float("inf"))
    search = GridSearchCV(
        classifier(module__normalization=normalization),
        {"lr": [0.001, 0.01]},
        cv=3,
        scoring="neg_log_loss",
    )
    alone = clone(search).fit(*data)
    with joblib.parallel_config("sktorch", verbose=1):
        together = clone(search).fit(*data)
    assert "6 × Ensemble" in capsys.readouterr().out
    np.testing.assert_allclose(
        together.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"], rtol=1e-4
    )


def test_a_fit_is_replayed(data):
    fitted = classifier(max_epochs=20).fit(*data)
    assert fitted.eager_reason_ is None
