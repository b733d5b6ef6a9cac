"""An own loss decides what outputs and targets are, and says what predictions are made of them.

The one documented way: **the loss has the methods**.

    class Mixture(nn.Module):
        def forward(self, output, target): ...        # as ever: a loss of output and target
        def predict(self, output): ...                # what `predict` returns, a row each
        def predict_proba(self, output): ...          # what `predict_proba` returns (classifiers)

- The loss is what gives outputs their meaning, so it is where their reading belongs: it is what
  sktorch's own losses do inside (`GaussianNLLLoss` is read as its mean, `PoissonNLLLoss` as exp).
- No new parameter of the estimator: `criterion` is searched, cloned and pickled as it is, and a
  search over `criterion=[Mixture(3), Mixture(5)]` can't pair a loss with the reading of another.
- `predict` gets what the module returned for some rows, a tensor, tuple or dict of tensors, and
  returns one tensor with a row each. `score` compares `predict` with y as ever (accuracy or R²)
  unless the loss has `score(output, target)`. For `TorchRegressor`, targets are scaled only if
  asked for (`scale_target` is "auto": off for a loss with `predict`), so that nothing has to be
  scaled back that is no number in the scale of y.
- `forward` may name more than output and target: `X` (the inputs of the batch) and `module`
  (for auxiliary terms that it keeps, such as a KL divergence). What it does not name it does not
  get. A loss without `target` among its names trains without y: `fit(X)` for autoencoders.
- Without `predict`, outputs of the shape of y are the predictions, as now; anything else is refused
  in `fit`, by an error that names `predict(output)` of the criterion.

What stands here holds for whatever way is chosen; `reading` is the only place that knows it.
"""

import math
import pickle
from functools import partial

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_predict, cross_val_score
from skorch.callbacks import Callback
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from sktorch import TorchClassifier, TorchRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
y = X[:, 0] + 0.1 * RNG.normal(size=60)


class Width(nn.Module):
    """A linear layer of a width that the data does not decide."""

    def __init__(self, n_features, width):
        super().__init__()
        self.output = nn.Linear(n_features, width)

    def forward(self, X):
        return self.output(X)


class Mixture(nn.Module):
    """Negative log-likelihood of a mixture of normals: three numbers a component."""

    def __init__(self, n_components=3):
        super().__init__()
        self.n_components = n_components

    def forward(self, output, target):
        weight, mean, log_std = output.chunk(3, dim=1)
        z = (target.reshape(-1, 1) - mean) / log_std.exp()
        log_p = weight.log_softmax(1) - z**2 / 2 - log_std - math.log(2 * math.pi) / 2
        return -log_p.logsumexp(1).mean()

    def predict(self, output):
        weight, mean, _ = output.chunk(3, dim=1)
        return (weight.softmax(1) * mean).sum(1)


class Cox(nn.Module):
    """Partial likelihood of survival: one risk a row, targets (time, whether it ended)."""

    def forward(self, output, target):
        time, ended = target.T
        risk = output.reshape(-1)[time.argsort(descending=True)]
        ended = ended[time.argsort(descending=True)]
        return -((risk - risk.logcumsumexp(0)) * ended).sum() / ended.sum().clamp(min=1)

    def predict(self, output):
        return output.reshape(-1)


SURVIVAL = np.column_stack([np.exp(y), np.arange(60) % 2])

CASES = {
    "mixture": (Mixture, {"module__width": 9}, y),
    "survival": (Cox, {"module__width": 1}, SURVIVAL),
}
by_case = pytest.mark.parametrize("case", CASES)


def reading(criterion):
    """Settings by which predictions are read from the outputs: the one way, in one place."""
    return {"criterion": criterion}


def net(criterion, **parameters):
    defaults = {"max_epochs": 5, "lr": 0.05, "random_state": 0, "scale_target": False}
    return TorchRegressor(Width, **defaults | reading(criterion) | parameters)


def of_case(case, **parameters):
    criterion, settings, target = CASES[case]
    return net(criterion, **settings | parameters), target


@by_case
def test_a_loss_of_any_output_and_target_is_trained(case):
    fresh, target = of_case(case, max_epochs=20)
    fitted = fresh.fit(X, target)
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]


@by_case
def test_predictions_are_what_is_read_from_the_outputs(case):
    fresh, target = of_case(case)
    fitted = fresh.fit(X, target)
    with torch.no_grad():
        by_hand = CASES[case][0]().predict(fitted.module_(torch.from_numpy(X)))
    np.testing.assert_allclose(fitted.predict(X), by_hand, atol=1e-6)


@by_case
def test_what_reads_outputs_is_cloned_pickled_and_cross_validated(case):
    fresh, target = of_case(case)
    fitted = clone(fresh).fit(X, target)
    other = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(other.predict(X), fitted.predict(X))
    assert cross_val_predict(fresh, X, target, cv=KFold(3)).shape == (60,)


def test_what_reads_outputs_is_searched():
    grid = {"criterion__n_components": [1, 3], "module__width": [9]}
    fresh = net(Mixture)
    search = GridSearchCV(fresh, grid, cv=2, scoring="r2", error_score="raise").fit(X, y)
    assert search.predict(X).shape == (60,)
    with joblib.parallel_config("sktorch"):
        together = GridSearchCV(fresh, grid, cv=2, scoring="r2", error_score="raise").fit(X, y)
    np.testing.assert_allclose(
        together.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"], atol=1e-5
    )


def silent(output, target):
    return (output.sum(1) - target.reshape(-1)).square().mean()


def weak(output, target):
    return (output - target.mean(1, keepdim=True)).square().mean()


AMBIGUOUS = {
    "more outputs than targets": (TorchRegressor, silent, {"width": 9}, y),
    "fewer outputs than targets": (TorchRegressor, weak, {"width": 1}, np.column_stack([y] * 3)),
    "outputs that are no classes": (
        TorchClassifier,
        lambda o, t: (o.mean(1) - t).square().mean(),
        {"width": 7},
        (y > 0).astype(int),
    ),
}


@pytest.mark.parametrize(("kind", "loss", "width", "target"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_outputs_that_can_be_read_in_several_ways_are_refused_with_the_way_named(
    kind, loss, width, target
):
    settings = {f"module__{name}": value for name, value in width.items()}
    with pytest.raises((ValueError, TypeError), match="predict"):
        kind(Width, criterion=loss, max_epochs=1, **settings).fit(X, target).predict(X)


def test_an_own_loss_of_outputs_like_the_targets_needs_no_reading():
    def squared(output, target):
        return (output - target).square().mean()

    fitted = TorchRegressor(criterion=squared, max_epochs=50, lr=0.05, random_state=0).fit(X, y)
    assert fitted.score(X, y) > 0.5


# Several heads


class Heads(nn.Module):
    """A class and a number of each row, and the hidden features."""

    def __init__(self, n_features, kind="tuple"):
        super().__init__()
        self.kind = kind
        self.hidden = nn.Linear(n_features, 8)
        self.logits, self.number = nn.Linear(8, 3), nn.Linear(8, 1)

    def forward(self, X):
        hidden = self.hidden(X).tanh()
        parts = {"logits": self.logits(hidden), "number": self.number(hidden)}
        return (
            parts
            if self.kind == "dict"
            else list(parts.values())
            if self.kind == "list"
            else (*parts.values(),)
        )


def parts_of(output):
    return (*output.values(),) if isinstance(output, dict) else output


class ClassAndNumber(nn.Module):
    """Cross-entropy of the class, and how far the number is from the code."""

    def forward(self, output, target):
        logits, number = parts_of(output)
        loss = nn.functional.cross_entropy(logits, target)
        return loss + (number.squeeze(1) - target).square().mean()

    def predict_proba(self, output):
        return parts_of(output)[0].softmax(1)


class NumberOfHeads(nn.Module):
    def forward(self, output, target):
        return (parts_of(output)[1].squeeze(1) - target).square().mean()

    def predict(self, output):
        return parts_of(output)[1].squeeze(1)


LABELS = np.array(["a", "b", "c"])[np.digitize(X[:, 0], [-0.5, 0.5])]
by_kind = pytest.mark.parametrize("kind", ["tuple", "dict", "list"])


def heads(estimator, criterion, kind, **parameters):
    defaults = {"max_epochs": 30, "lr": 0.05, "random_state": 0}
    return estimator(Heads, criterion=criterion, module__kind=kind, **defaults | parameters)


@by_kind
@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}, {"batch_size": 7}])
def test_heads_of_labels_are_read_by_their_loss(kind, settings):
    fitted = heads(TorchClassifier, ClassAndNumber, kind, **settings).fit(X, LABELS)
    p = fitted.predict_proba(X)
    with torch.no_grad():
        by_hand = ClassAndNumber().predict_proba(fitted.module_(torch.from_numpy(X)))
    np.testing.assert_allclose(p, by_hand, atol=1e-6)
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[p.argmax(1)])
    np.testing.assert_allclose(fitted.predict_log_proba(X), np.log(p), rtol=1e-4)
    assert fitted.decision_function(X).shape == (60, 3)
    assert fitted.score(X, LABELS) > 0.5


@by_kind
def test_heads_of_numbers_are_read_by_their_loss(kind):
    fitted = heads(TorchRegressor, NumberOfHeads, kind).fit(X, y)
    assert fitted.predict(X).shape == (60,)
    assert fitted.score(X, y) > 0.5


class Pairs(Dataset):
    def __len__(self):
        return 60

    def __getitem__(self, row):
        return torch.from_numpy(X[row]), y[row]


class Flow(IterableDataset):
    def __iter__(self):
        return iter(Pairs()[row] for row in range(60))


@pytest.mark.parametrize("dataset", [Pairs, Flow])
def test_heads_of_datasets_are_read_by_their_loss(dataset):
    fitted = heads(TorchRegressor, NumberOfHeads, "dict", batch_size=16).fit(dataset())
    np.testing.assert_allclose(fitted.predict(dataset()), fitted.predict(X), atol=1e-6)
    assert fitted.score(dataset()) == pytest.approx(fitted.score(X, y))


@by_kind
def test_heads_are_trained_in_a_stack_as_alone(kind):
    grid = {"lr": [0.01, 0.05]}
    fresh = heads(TorchClassifier, ClassAndNumber, kind, max_epochs=4, early_stopping=True)
    search = GridSearchCV(fresh, grid, cv=2, error_score="raise")
    alone = clone(search).fit(X, LABELS)
    with joblib.parallel_config("sktorch"):
        together = search.fit(X, LABELS)
    np.testing.assert_allclose(
        together.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"], atol=1e-6
    )


def test_callbacks_see_the_outputs_of_all_heads():
    seen = []

    class Watch(Callback):
        def on_batch_end(self, net, y_pred, **_):
            seen.append([part.requires_grad for part in y_pred])

    heads(TorchRegressor, NumberOfHeads, "tuple", max_epochs=1, callbacks=[Watch()]).fit(X, y)
    assert seen == [[False, False]]


# A score of the loss's own


class Concordance(Cox):
    def score(self, output, target):
        time, risk = target[:, 0], output.reshape(-1)
        later = time[:, None] > time
        return (later & (risk[:, None] < risk)).sum() / later.sum()


def test_a_loss_scores_its_outputs():
    settings = {"module__width": 1, "max_epochs": 30, "early_stopping": True}
    fitted = net(Concordance, **settings).fit(X, SURVIVAL)
    with torch.no_grad():
        output = fitted.module_(torch.from_numpy(X))
    by_hand = float(Concordance().score(output, torch.from_numpy(SURVIVAL)))
    assert fitted.score(X, SURVIVAL) == pytest.approx(by_hand)
    assert by_hand > 0.5
    assert "valid_score" in fitted.history_[-1]
    assert fitted.validation_scores_ == fitted.history_[:, "valid_score"]
    scores = cross_val_score(net(Concordance, **settings), X, SURVIVAL, cv=KFold(2))
    assert np.isfinite(scores).all()


def test_a_score_that_is_not_defined_is_refused_with_the_way_named():
    fitted = net(Cox, module__width=1, early_stopping=True).fit(X, SURVIVAL)
    assert "valid_r2" not in fitted.history_[-1]
    with pytest.raises(ValueError, match=r"score\(output, target\)"):
        fitted.score(X, SURVIVAL)
    with pytest.raises(ValueError, match="with sample_weight"):
        net(Concordance, module__width=1).fit(X, SURVIVAL).score(X, SURVIVAL, np.ones(60))


# A loss of more than output and target


def with_inputs(output, target, X):
    return (output - target).square().mean() + 0 * X.sum()


def with_both(output, target, *, X, module, factor=1.0):
    penalty = sum(p.abs().sum() for p in module.parameters())
    return (output - target).square().mean() + factor * penalty + 0 * X.sum()


def rows_with_inputs(output, target, X, reduction="mean"):
    loss = (output - target).square().reshape(-1) * (1 + 0 * X[:, 0])
    return loss if reduction == "none" else loss.mean()


class WithModule(nn.Module):
    def __init__(self, factor=0.1):
        super().__init__()
        self.factor = factor

    def forward(self, output, target, module):
        penalty = sum(p.abs().sum() for p in module.parameters())
        return (output - target).square().mean() + self.factor * penalty


NAMING = {
    "inputs": (with_inputs, {}),
    "inputs and module": (with_both, {"criterion__factor": 0.1}),
    "a partial function": (partial(with_both, factor=0.1), {}),
    "a class": (WithModule, {"criterion__factor": 0.2}),
    "an instance": (WithModule(0.2), {}),
}


@pytest.mark.parametrize(("loss", "settings"), NAMING.values(), ids=NAMING.keys())
def test_a_loss_gets_what_it_names_in_training_and_validation(loss, settings):
    fresh = TorchRegressor(criterion=loss, max_epochs=5, lr=0.05, random_state=0, **settings)
    fitted = clone(fresh).set_params(early_stopping=True).fit(X, y)
    assert np.isfinite(fitted.predict(X)).all()
    grid = GridSearchCV(fresh, {"lr": [0.01, 0.05]}, cv=2, error_score="raise")
    alone = clone(grid).fit(X, y).cv_results_["mean_test_score"]
    with joblib.parallel_config("sktorch"):
        together = grid.fit(X, y).cv_results_["mean_test_score"]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_loss_that_names_inputs_has_weights():
    weight = np.arange(60) % 2 + 0.5
    fresh = TorchRegressor(max_epochs=3, random_state=0)
    named = clone(fresh).set_params(criterion=rows_with_inputs).fit(X, y, sample_weight=weight)
    plain = fresh.fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(named.predict(X), plain.predict(X), atol=1e-5)


# A loss without a target


class Codes(nn.Module):
    """A variational autoencoder, which keeps the divergence of its codes."""

    def __init__(self, n_features):
        super().__init__()
        self.encode, self.decode = nn.Linear(n_features, 4), nn.Linear(2, n_features)

    def forward(self, X):
        mean, log_std = self.encode(X).chunk(2, dim=1)
        self.divergence = (mean**2 + log_std.exp() ** 2 - 2 * log_std - 1).sum(1).mean() / 2
        if self.training:
            mean = mean + torch.randn_like(mean) * log_std.exp()
        return self.decode(mean), mean


class Evidence(nn.Module):
    def forward(self, output, X, module):
        return (output[0] - X).square().sum(1).mean() + 0.1 * module.divergence

    def predict(self, output):
        return output[1]

    def score(self, output):
        return -output[1].square().mean()


def reconstruction(output, X):
    return (output - X).square().mean()


class Inputs(Pairs):
    def __getitem__(self, row):
        return torch.from_numpy(X[row])


class FlowOfInputs(IterableDataset):
    def __iter__(self):
        return iter(torch.from_numpy(X))


SOURCES = {
    "array": lambda: X,
    "tensor": lambda: torch.from_numpy(X),
    "dataset": Inputs,
    "stream": FlowOfInputs,
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_a_loss_without_target_trains_without_y(source):
    fitted = TorchRegressor(Codes, criterion=Evidence, max_epochs=20, lr=0.05, random_state=0)
    fitted.fit(source())
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]
    assert fitted.predict(source()).shape == (60, 2)
    with torch.no_grad():
        codes = fitted.module_(torch.from_numpy(X))[1]
    np.testing.assert_allclose(fitted.predict(X), codes, atol=1e-6)
    assert fitted.score(source()) == pytest.approx(float(-codes.square().mean()))


def test_an_autoencoder_needs_a_function():
    fresh = TorchRegressor(
        lambda n_features: nn.Linear(n_features, n_features),
        criterion=reconstruction,
        lr=0.05,
        max_epochs=50,
        random_state=0,
    )
    fitted = fresh.fit(X)
    assert fitted.predict(X).shape == X.shape
    assert fitted.loss_curve_[-1] < 0.5 * fitted.loss_curve_[0]
    np.testing.assert_array_equal(clone(fresh).fit(X, y).predict(X), fitted.predict(X))
    stopped = clone(fresh).set_params(early_stopping=True).fit(X)
    assert "valid_loss" in stopped.history_[-1]
    weighted = clone(fresh).set_params(warm_start=True).fit(X).fit(X).partial_fit(X)
    assert weighted.n_epochs_ > 50
    with pytest.raises(ValueError, match=r"score\(output, target\)"):
        fitted.score(X)
    with pytest.raises(ValueError, match="inconsistent"):
        clone(fresh).fit(X, y[:-1])


def test_labels_are_needed_for_a_classifier():
    with pytest.raises(ValueError, match="requires y"):
        TorchClassifier(criterion=reconstruction).fit(X)


def test_a_loss_with_a_target_needs_y():
    with pytest.raises(ValueError, match="requires y"):
        TorchRegressor(criterion=with_inputs).fit(X)


# Refused


class NoRow(Mixture):
    def predict(self, output):
        return output.mean()


class NoTensor(Mixture):
    def predict(self, output):
        return "nothing"


class NoCodes(ClassAndNumber):
    def predict(self, output):
        return parts_of(output)[1].squeeze(1) + 0.5


class ManyClasses(ClassAndNumber):
    def predict(self, output):
        return parts_of(output)[0].argmax(1) + 7


class OfBatch(Heads):
    def forward(self, X):
        return super().forward(X)[0], X.mean()


REFUSED = {
    "no row": (lambda: net(NoRow, module__width=9), y, "predict"),
    "no tensor": (lambda: net(NoTensor, module__width=9), y, "predict"),
    "no codes": (lambda: heads(TorchClassifier, NoCodes, "dict"), LABELS, "codes of classes"),
    "unknown codes": (lambda: heads(TorchClassifier, ManyClasses, "dict"), LABELS, "codes of cl"),
    "several outputs": (lambda: heads(TorchRegressor, "mse", "tuple"), y, "predict"),
    "a term of the batch": (lambda: TorchRegressor(OfBatch, criterion=NumberOfHeads), y, "a row"),
}


@pytest.mark.parametrize(("fresh", "target", "word"), REFUSED.values(), ids=REFUSED.keys())
def test_a_reading_that_makes_no_rows_is_refused(fresh, target, word):
    with pytest.raises((ValueError, TypeError), match=word):
        fresh().fit(X, target)


def test_a_loss_without_probabilities_has_no_predict_proba():
    class Codes(ClassAndNumber):
        predict_proba = property()

        def predict(self, output):
            return parts_of(output)[0].argmax(1)

    fitted = heads(TorchClassifier, Codes, "tuple").fit(X, LABELS)
    assert not hasattr(fitted, "predict_proba")
    with pytest.raises(AttributeError, match="predict_proba"):
        fitted.decision_function(X)
