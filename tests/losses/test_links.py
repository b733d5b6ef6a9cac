"""Every link: the loss that is trained and the probabilities that come out, against formulas."""

import pickle
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sktorch import TorchClassifier
from sktorch.losses.registry import link_of
from tests.losses.samples import Brier

N_ROWS = 24


# Losses of rows, and probabilities, written out in numpy.


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def two_columns(z):
    """Return probabilities of two classes for a single logit."""
    p = sigmoid(z.reshape(-1))
    return np.stack([1 - p, p], axis=1)


def normalised_sigmoids(z):
    return sigmoid(z) / sigmoid(z).sum(1, keepdims=True)


def cross_entropy(z, y):
    return -np.log(softmax(z))[np.arange(len(y)), y]


def smoothed(z, y, smoothing=0.2):
    return (1 - smoothing) * cross_entropy(z, y) - smoothing * np.log(softmax(z)).mean(1)


def picked(log_p, y):
    return -log_p[np.arange(len(y)), y]


def zero_one(output, y):
    return y.reshape(-1, *output.shape[1:]) if is_single(output) else np.eye(output.shape[1])[y]


def is_single(output):
    return output.ndim == 1 or output.shape[1] == 1


def binary(z, y):
    """Mean over the columns of the cross-entropy of each."""
    t = zero_one(z, y)
    return -(t * np.log(sigmoid(z)) + (1 - t) * np.log(1 - sigmoid(z))).reshape(len(y), -1).mean(1)


def binary_of_probabilities(p, y):
    t = zero_one(p, y)
    return -(t * np.log(p) + (1 - t) * np.log(1 - p)).reshape(len(y), -1).mean(1)


def soft_margin(z, y):
    t = 2 * zero_one(z, y) - 1
    return np.log(1 + np.exp(-t * z)).reshape(len(y), -1).mean(1)


def multi_margin(z, y):
    own = z[np.arange(len(y)), y]
    margins = np.maximum(0, 1 - own[:, None] + z)
    margins[np.arange(len(y)), y] = 0
    return margins.sum(1) / z.shape[1]


def squared_to_one(z, y):
    return ((softmax(z) - np.eye(z.shape[1])[y]) ** 2).sum(1)


class OneNumber(nn.Module):
    """A loss that can't be told to give one number per row."""

    def forward(self, output, target):
        return F.cross_entropy(output, target)


class OwnCrossEntropy(nn.CrossEntropyLoss):
    pass


def with_reduction(output, target, reduction="mean"):
    return F.cross_entropy(output, target, reduction=reduction)


def identity(z):
    return z


def flat(z):
    return z.reshape(-1)


log_softmax = partial(torch.log_softmax, dim=1)


log_probability = (picked, np.exp)


# name: (criterion, head on the logits, number of classes, width, (loss of rows, probabilities))
CASES = {
    "CrossEntropyLoss": (nn.CrossEntropyLoss, identity, 3, 3, (cross_entropy, softmax)),
    "CrossEntropyLoss, 2": (nn.CrossEntropyLoss, identity, 2, 2, (cross_entropy, softmax)),
    "instance": (nn.CrossEntropyLoss(), identity, 3, 3, (cross_entropy, softmax)),
    "subclass": (OwnCrossEntropy, identity, 3, 3, (cross_entropy, softmax)),
    "label smoothing": (
        nn.CrossEntropyLoss(label_smoothing=0.2),
        identity,
        3,
        3,
        (smoothed, softmax),
    ),
    "partial of a class": (
        partial(nn.CrossEntropyLoss, label_smoothing=0.2),
        identity,
        3,
        3,
        (smoothed, softmax),
    ),
    "NLLLoss": (nn.NLLLoss, log_softmax, 3, 3, log_probability),
    "BCEWithLogitsLoss (n, 1)": (nn.BCEWithLogitsLoss, identity, 2, 1, (binary, two_columns)),
    "BCEWithLogitsLoss (n,)": (nn.BCEWithLogitsLoss, flat, 2, 1, (binary, two_columns)),
    "BCEWithLogitsLoss (n, 2)": (
        nn.BCEWithLogitsLoss,
        identity,
        2,
        2,
        (binary, normalised_sigmoids),
    ),
    "BCEWithLogitsLoss (n, 3)": (
        nn.BCEWithLogitsLoss(),
        identity,
        3,
        3,
        (binary, normalised_sigmoids),
    ),
    "BCELoss (n, 1)": (
        nn.BCELoss,
        torch.sigmoid,
        2,
        1,
        (binary_of_probabilities, lambda p: np.stack([1 - p.ravel(), p.ravel()], 1)),
    ),
    "BCELoss (n,)": (
        nn.BCELoss,
        lambda z: flat(z).sigmoid(),
        2,
        1,
        (binary_of_probabilities, lambda p: np.stack([1 - p, p], 1)),
    ),
    "BCELoss (n, 3)": (
        nn.BCELoss,
        torch.sigmoid,
        3,
        3,
        (binary_of_probabilities, lambda p: p / p.sum(1, keepdims=True)),
    ),
    "SoftMarginLoss (n, 1)": (nn.SoftMarginLoss, identity, 2, 1, (soft_margin, two_columns)),
    "SoftMarginLoss (n, 3)": (
        nn.SoftMarginLoss,
        identity,
        3,
        3,
        (soft_margin, normalised_sigmoids),
    ),
    "MultiMarginLoss": (nn.MultiMarginLoss, identity, 3, 3, (multi_margin, None)),
    "MultiMarginLoss, 2": (nn.MultiMarginLoss(), identity, 2, 2, (multi_margin, None)),
    "cross_entropy": (F.cross_entropy, identity, 3, 3, (cross_entropy, softmax)),
    "partial of cross_entropy": (
        partial(F.cross_entropy, label_smoothing=0.2),
        identity,
        3,
        3,
        (smoothed, softmax),
    ),
    "nll_loss": (F.nll_loss, log_softmax, 3, 3, log_probability),
    "binary_cross_entropy_with_logits": (
        F.binary_cross_entropy_with_logits,
        identity,
        2,
        1,
        (binary, two_columns),
    ),
    "soft_margin_loss": (F.soft_margin_loss, identity, 2, 1, (soft_margin, two_columns)),
    "multi_margin_loss": (F.multi_margin_loss, identity, 3, 3, (multi_margin, None)),
    "own function": (with_reduction, identity, 3, 3, (cross_entropy, softmax)),
    "own module": (Brier, identity, 3, 3, (squared_to_one, softmax)),
    "own instance": (Brier(), identity, 2, 2, (squared_to_one, softmax)),
}


ONE_NUMBER = {
    "lambda": lambda output, target: F.cross_entropy(output, target),
    "own module": OneNumber,
    "own instance": OneNumber(),
    "partial": partial(
        lambda output, target, scale: scale * F.cross_entropy(output, target), scale=1
    ),
}


class Headed(nn.Module):
    """A linear model with known weights, and a function on its logits."""

    def __init__(self, width, head):
        super().__init__()
        self.linear = nn.Linear(4, width, dtype=torch.float64)
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        self.head = head

    def forward(self, X):
        return self.head(self.linear(X))


def data(n_classes):
    rng = np.random.RandomState(0)
    y = np.arange(N_ROWS) % n_classes
    return np.eye(4)[y] + 0.5 * rng.randn(N_ROWS, 4), y


def fit(criterion, head, n_classes, width, weights=None, **parameters):
    X, y = data(n_classes)
    settings = {"max_epochs": 3, "lr": 0.05, "batch_size": 100, "device": "cpu", "random_state": 0}
    estimator = TorchClassifier(Headed(width, head), criterion=criterion, **(settings | parameters))
    return estimator.fit(X, y, sample_weight=weights), X, y


def outputs_of(module, X):
    with torch.no_grad():
        return module(torch.from_numpy(X)).numpy()


@pytest.mark.parametrize("weights", [None, np.random.RandomState(1).rand(N_ROWS)])
@pytest.mark.parametrize("name", CASES)
def test_the_loss_is_that_of_the_formula(name, weights):
    criterion, head, n_classes, width, (row_loss, _) = CASES[name]
    fitted, X, y = fit(criterion, head, n_classes, width, weights)
    expected = np.average(row_loss(outputs_of(Headed(width, head), X), y), weights=weights)
    assert fitted.loss_curve_[0] == pytest.approx(expected, rel=1e-9)
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]


@pytest.mark.parametrize("name", CASES)
def test_probabilities_are_those_of_the_formula(name):
    criterion, head, n_classes, width, (_, probabilities) = CASES[name]
    fitted, X, _ = fit(criterion, head, n_classes, width)
    outputs = outputs_of(fitted.module_, X)
    if probabilities is None:
        assert not hasattr(fitted, "predict_proba")
        assert not hasattr(fitted, "predict_log_proba")
        for method in ("predict_proba", "predict_log_proba"):
            with pytest.raises(AttributeError, match=method) as failure:
                getattr(fitted, method)(X)
            assert "MultiMarginLoss" in str(failure.value.__cause__) or "multi_margin" in str(
                failure.value.__cause__
            )
        np.testing.assert_array_equal(fitted.predict(X), outputs.argmax(1))
    else:
        expected = probabilities(outputs)
        actual = fitted.predict_proba(X)
        assert actual.shape == (N_ROWS, n_classes)
        np.testing.assert_allclose(actual, expected, rtol=1e-9)
        np.testing.assert_allclose(fitted.predict_log_proba(X), np.log(expected), atol=1e-9)
        np.testing.assert_allclose(actual.sum(1), 1)
        np.testing.assert_array_equal(fitted.predict(X), expected.argmax(1))


@pytest.mark.parametrize("name", CASES)
def test_the_decision_agrees_with_the_prediction(name):
    criterion, head, n_classes, width, _ = CASES[name]
    fitted, X, _ = fit(criterion, head, n_classes, width)
    decision = fitted.decision_function(X)
    if n_classes == 2:
        assert decision.shape == (N_ROWS,)
        np.testing.assert_array_equal(decision > 0, fitted.predict(X) == 1)
    else:
        assert decision.shape == (N_ROWS, n_classes)
        np.testing.assert_array_equal(decision.argmax(1), fitted.predict(X))


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[1] is identity])
def test_early_stopping_and_the_ready_module_work_with_every_loss(name):
    criterion, _, n_classes, _, _ = CASES[name]
    X, y = data(n_classes)
    fitted = TorchClassifier(
        criterion=criterion,
        early_stopping=True,
        validation_fraction=0.25,
        n_iter_no_change=40,
        max_epochs=40,
        lr=0.03,
        random_state=0,
        device="cpu",
    ).fit(X, y)
    assert fitted.score(X, y) > 0.7
    assert len(fitted.validation_scores_) == 40
    assert fitted.history_[-1, "train_loss"] < 0.5 * fitted.history_[0, "train_loss"]


@pytest.mark.parametrize("name", ONE_NUMBER)
def test_a_loss_of_one_number_trains_without_weights_only(name):
    criterion = ONE_NUMBER[name]
    fitted, X, y = fit(criterion, identity, 3, 3)
    expected = cross_entropy(outputs_of(Headed(3, identity), X), y).mean()
    assert fitted.loss_curve_[0] == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(fitted.predict_proba(X), softmax(outputs_of(fitted.module_, X)))
    message = r"loss of shape \(\) for 2 rows.*`reduction` parameter.*'none'.*one loss per row"
    with pytest.raises(ValueError, match=message):
        fitted.fit(X, y, sample_weight=y + 1.0)
    with pytest.raises(ValueError, match=message):
        fitted.set_params(class_weight="balanced").fit(X, y)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("criterion", "name", "values"),
    [
        (nn.CrossEntropyLoss, "weight", [1.0, 2.0, 4.0]),
        (nn.MultiMarginLoss, "weight", [1.0, 2.0, 4.0]),
        (nn.BCEWithLogitsLoss, "pos_weight", [1.0, 2.0, 4.0]),
        (F.cross_entropy, "weight", [1.0, 2.0, 4.0]),
    ],
)
def test_tensors_among_the_parameters_of_the_criterion(criterion, name, values, dtype):
    X, y = data(3)
    given = torch.tensor(values)  # float32, whatever the module's dtype is
    fitted = TorchClassifier(
        criterion=criterion,
        max_epochs=2,
        random_state=0,
        device="cpu",
        **{f"criterion__{name}": given},
    ).fit(X.astype(dtype), y)
    plain = TorchClassifier(criterion=criterion, max_epochs=2, random_state=0, device="cpu")
    plain.fit(X.astype(dtype), y)
    assert fitted.loss_curve_[0] != pytest.approx(plain.loss_curve_[0], rel=1e-3)
    assert torch.equal(given, torch.tensor(values))
    assert fitted.get_params()[f"criterion__{name}"] is given


@pytest.mark.parametrize("weights", [None, "ones", "random"])
def test_weights_of_the_criterion_and_of_the_rows_multiply(weights):
    of_class = np.array([1.0, 2.0, 4.0])
    row_weights = {
        None: None,
        "ones": np.ones(N_ROWS),
        "random": np.random.RandomState(1).rand(N_ROWS),
    }[weights]
    fitted, X, y = fit(
        nn.CrossEntropyLoss,
        identity,
        3,
        3,
        row_weights,
        criterion__weight=torch.from_numpy(of_class),
    )
    losses = cross_entropy(outputs_of(Headed(3, identity), X), y)
    # torch's own mean divides by the weights of the classes; the mean over weighted rows does not.
    total = of_class[y] if row_weights is None else row_weights
    product = of_class[y] if row_weights is None else of_class[y] * row_weights
    assert fitted.loss_curve_[0] == pytest.approx((product * losses).sum() / total.sum(), rel=1e-9)


@pytest.mark.parametrize(
    ("criterion", "n_classes", "widths"),
    [
        (nn.CrossEntropyLoss, 1, (1,)),
        (nn.CrossEntropyLoss, 2, (2,)),
        (nn.CrossEntropyLoss, 5, (5,)),
        (nn.BCEWithLogitsLoss, 1, (1,)),
        (nn.BCEWithLogitsLoss, 2, (1, 2)),
        (nn.BCEWithLogitsLoss, 5, (5,)),
    ],
)
def test_widths(criterion, n_classes, widths):
    assert link_of(criterion).widths(n_classes) == widths


CODES = torch.tensor([0, 1, 1])


@pytest.mark.parametrize(
    ("criterion", "output_shape", "n_classes", "expected"),
    [
        (nn.CrossEntropyLoss, (2, 2), 2, [0, 1, 1]),
        (nn.BCEWithLogitsLoss, (2, 1), 2, [[0.0], [1.0], [1.0]]),
        (nn.BCEWithLogitsLoss, (2,), 2, [0.0, 1.0, 1.0]),
        (nn.BCEWithLogitsLoss, (2, 2), 2, [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]),
        (nn.BCELoss, (2, 3), 3, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]),
        (nn.SoftMarginLoss, (2,), 2, [-1.0, 1.0, 1.0]),
        (nn.SoftMarginLoss, (2, 2), 2, [[1.0, -1.0], [-1.0, 1.0], [-1.0, 1.0]]),
    ],
)
def test_targets(criterion, output_shape, n_classes, expected):
    example = torch.zeros(output_shape, dtype=torch.float64)
    target = link_of(criterion).encode(CODES, n_classes, example)
    assert target.tolist() == expected
    assert target.dtype is (torch.int64 if criterion is nn.CrossEntropyLoss else torch.float64)


@pytest.mark.parametrize("logit", [-1000.0, -50.0, 0.0, 50.0, 1000.0])
@pytest.mark.parametrize("criterion", [nn.BCEWithLogitsLoss, nn.SoftMarginLoss])
def test_extreme_logits_have_exact_log_probabilities(criterion, logit):
    log_p = link_of(criterion).log_probabilities(torch.tensor([[logit]], dtype=torch.float64))
    expected = -np.logaddexp(0, [logit, -logit])
    np.testing.assert_allclose(log_p.numpy()[0], expected, rtol=1e-12)
    assert torch.isfinite(log_p).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (20_000, 3), (40, 15), (40, 16), (5, 3, 4)])
def test_short_and_long_rows_have_the_same_softmax(shape, dtype):
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    log_p = link_of(nn.CrossEntropyLoss).log_probabilities(logits)
    assert log_p.dtype is dtype
    assert log_p.is_contiguous()
    exact = logits.double().log_softmax(1)
    torch.testing.assert_close(log_p.double(), exact, rtol=0, atol=16 * torch.finfo(dtype).eps)


def test_certain_probabilities_stay_probabilities():
    p = torch.tensor([[0.0], [1.0], [0.25]], dtype=torch.float64)
    probabilities = link_of(nn.BCELoss).log_probabilities(p).exp()
    np.testing.assert_allclose(probabilities, [[1, 0], [0, 1], [0.75, 0.25]], atol=1e-12)
    p = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.5]], dtype=torch.float64)
    probabilities = link_of(nn.BCELoss).log_probabilities(p).exp()
    np.testing.assert_allclose(probabilities, [[0.5, 0, 0.5], [0, 0, 1]], atol=1e-12)


def test_an_instance_given_as_criterion_is_not_changed():
    criterion = nn.CrossEntropyLoss()
    fitted, *_ = fit(criterion, identity, 3, 3, np.arange(N_ROWS) + 1.0)
    assert criterion.reduction == "mean"
    assert fitted.criterion is criterion
    assert fitted.net_.criterion_ is not criterion
    assert fitted.net_.criterion_.reduction == "mean"


@pytest.mark.parametrize("criterion", [F.cross_entropy, partial(F.cross_entropy), Brier()])
def test_fitted_losses_survive_pickling(criterion):
    fitted, X, _ = fit(criterion, torch.clone, 3, 3)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
