"""`to_module` returns what `predict_proba` or `predict` does, as a plain module of torch."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sktorch import TorchClassifier, TorchRegressor
from sktorch.modules import ConvNet

X, species = load_iris(return_X_y=True)
X = X.astype("float32")
X_sugar, progression = load_diabetes(return_X_y=True)
X_sugar = X_sugar.astype("float32")
RECIPE = {"max_epochs": 3, "random_state": 0}
BATCH = {0: torch.export.Dim("batch")}


class Sigmoid(nn.Sequential):
    def __init__(self, n_features, n_outputs):
        super().__init__(nn.Linear(n_features, n_outputs), nn.Sigmoid())


class LogSoftmax(nn.Sequential):
    def __init__(self, n_features, n_outputs):
        super().__init__(nn.Linear(n_features, n_outputs), nn.LogSoftmax(dim=1))


class Squeezed(nn.Linear):
    def __init__(self, n_features):
        super().__init__(n_features, 1)

    def forward(self, X):
        return super().forward(X).squeeze()


class Temperature(nn.CrossEntropyLoss):
    """A loss of the user's own, with a parameter, that says what its outputs predict."""

    def __init__(self):
        super().__init__()
        self.log_t = nn.Parameter(torch.ones(()))

    def predict_proba(self, output):
        return (output / self.log_t.exp()).softmax(1)


class Doubled(nn.Module):
    def forward(self, output, target):
        return (self.predict(output) - target).square().mean()

    def predict(self, output):
        return 2 * output[:, 0]


def rows(n_columns, n_steps=5):
    return np.random.default_rng(0).normal(size=(60, n_columns, n_steps)).astype("float32")


per_step = TorchClassifier(nn.Conv1d(4, 3, 1), **RECIPE)
CLASSIFIERS = [
    ("labels", {}, species),
    ("strings", {}, np.array(["a", "b", "c"])[species]),
    ("two classes", {}, species > 0),
    ("one output", {"criterion": "bce_with_logits"}, species > 0),
    ("one against the rest", {"criterion": "bce_with_logits"}, species),
    ("probabilities", {"module": Sigmoid, "criterion": "bce"}, species > 0),
    ("log-probabilities", {"module": LogSoftmax, "criterion": "nll"}, species),
    ("indicators", {}, np.c_[species > 0, species > 1].astype(int)),
    ("columns", {}, np.c_[species, species > 1]),
    ("own loss", {"criterion": Temperature}, species),
    ("float64", {"module__dtype": torch.float64}, species),
]
REGRESSORS = [
    ("squared error", {}, progression),
    ("one column", {}, progression[:, None]),
    ("two targets", {}, np.c_[progression, 1e3 * progression]),
    ("unscaled", {"scale_target": False}, progression),
    ("gaussian", {"criterion": "gaussian_nll"}, progression),
    ("counts", {"criterion": "poisson_nll"}, progression),
    ("quantiles", {"criterion": "quantile", "criterion__quantile": [0.1, 0.9]}, progression),
    ("own loss", {"criterion": Doubled}, progression),
    ("beyond float32", {}, progression * 1e40),
    ("squeezed", {"module": Squeezed}, progression),
]


def by_name(cases):
    return pytest.mark.parametrize(
        ("parameters", "y"), [pytest.param(*case, id=name) for name, *case in cases]
    )


def tensors(predicted):
    return predicted if isinstance(predicted, tuple) else (predicted,)


def arrays(predicted):
    return predicted if isinstance(predicted, list) else [predicted]


def check_module(module, X, expected):
    """The module gives these bits, its export nearly, whatever the number of rows."""
    X = torch.from_numpy(X).to(next(module.parameters()).dtype)
    for mine, theirs in zip(tensors(module(X)), arrays(expected), strict=True):
        np.testing.assert_array_equal(mine.detach(), theirs)
    exported = torch.export.export(module, (X[:3],), dynamic_shapes=(BATCH,)).module()
    for n_rows in 2, 50:
        for mine, theirs in zip(tensors(exported(X[:n_rows])), arrays(expected), strict=True):
            np.testing.assert_allclose(mine.detach(), theirs[:n_rows], rtol=1e-5, atol=1e-6)


@by_name(CLASSIFIERS)
def test_of_a_classifier_it_returns_probabilities(parameters, y):
    classifier = TorchClassifier(**RECIPE | parameters).fit(X, y)
    check_module(classifier.to_module(), X, classifier.predict_proba(X))


@by_name(REGRESSORS)
def test_of_a_regressor_it_returns_numbers_in_the_scale_of_y(parameters, y):
    regressor = TorchRegressor(**RECIPE | parameters).fit(X_sugar, y)
    check_module(regressor.to_module(), X_sugar, regressor.predict(X_sugar))


def test_images_and_labels_of_steps(digits_images):
    images, y = (part[:100] for part in digits_images)
    classifier = TorchClassifier(ConvNet, **RECIPE).fit(images, y)
    check_module(classifier.to_module(), images, classifier.predict_proba(images))
    steps = rows(4)
    per_step.fit(steps, (steps[:, 0] > 0) + (steps[:, 1] > 0).astype(int))
    check_module(per_step.to_module(), steps, per_step.predict_proba(steps))


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.embedding = nn.Linear(4, 3), nn.Embedding(3, 3)

    def forward(self, numbers, codes):
        return self.linear(numbers) + self.embedding(codes)


@pytest.mark.parametrize("by", ["name", "position"])
def test_several_inputs(by):
    given = {"numbers": X, "codes": species}
    given = given if by == "name" else (*given.values(),)
    classifier = TorchClassifier(TwoInputs, **RECIPE).fit(given, species)
    module, both = classifier.to_module(), (torch.from_numpy(X), torch.from_numpy(species))
    expected = classifier.predict_proba(given)
    np.testing.assert_array_equal(module(*both).detach(), expected)
    named = dict(zip(("numbers", "codes"), both, strict=True))
    if by == "name":
        np.testing.assert_array_equal(module(**named).detach(), expected)
    exported = torch.export.export(module, both, dynamic_shapes=((BATCH, BATCH),)).module()
    np.testing.assert_allclose(exported(*both).detach(), expected, atol=1e-6)


def test_sequences_of_several_lengths_come_padded():
    from sktorch.modules import RecurrentNet

    sequences = [X[i : i + 3 + i % 3] for i in range(40)]
    y = np.arange(40) % 3
    net = TorchClassifier(RecurrentNet, **RECIPE).fit(sequences, y)
    padded = nn.utils.rnn.pad_sequence([*map(torch.from_numpy, sequences)], batch_first=True)
    lengths = torch.tensor([*map(len, sequences)])
    np.testing.assert_allclose(
        net.to_module()(padded, lengths).detach(), net.predict_proba(sequences), atol=1e-6
    )


def test_one_row_of_a_module_that_squeezes():
    regressor = TorchRegressor(Squeezed, **RECIPE).fit(X_sugar, progression)
    one = torch.from_numpy(X_sugar[:1])
    np.testing.assert_array_equal(
        regressor.to_module()(one).detach(), regressor.predict(X_sugar[:1])
    )


def test_it_goes_through_a_data_loader():
    regressor = TorchRegressor(**RECIPE).fit(X_sugar, progression)
    module = regressor.to_module()
    loader = DataLoader(TensorDataset(torch.from_numpy(X_sugar)), batch_size=100)
    with torch.no_grad():
        predicted = torch.cat([module(batch) for (batch,) in loader])
    np.testing.assert_allclose(predicted, regressor.predict(X_sugar), rtol=1e-5)


@pytest.mark.parametrize("parameters", [{}, {"criterion": Temperature}], ids=["auto", "own"])
def test_gradients_reach_the_inputs(parameters):
    classifier = TorchClassifier(**RECIPE | parameters).fit(X, species)
    inputs = torch.from_numpy(X).requires_grad_()
    classifier.to_module()(inputs)[:, 0].sum().backward()
    assert inputs.grad.abs().sum() > 0


def test_it_is_a_copy_in_eval_mode():
    classifier = TorchClassifier(**RECIPE, module__dropout=0.5).fit(X, species)
    before = classifier.predict_proba(X)
    module = classifier.to_module()
    assert not any(layer.training for layer in module.modules())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(classifier.predict_proba(X), before)


def test_scale_and_mean_are_in_the_state():
    regressor = TorchRegressor(**RECIPE).fit(X_sugar, progression)
    state = regressor.to_module().state_dict()
    np.testing.assert_allclose(state["decoding.mean"], progression.mean(), rtol=1e-6)
    np.testing.assert_allclose(state["decoding.scale"], progression.std(), rtol=1e-6)
    in_half = regressor.to_module().double()
    np.testing.assert_allclose(
        in_half(torch.from_numpy(X_sugar).double()).detach(), regressor.predict(X_sugar), rtol=1e-4
    )


@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
def test_an_unfitted_estimator_is_told(kind):
    with pytest.raises(NotFittedError, match=kind.__name__):
        kind().to_module()


def test_a_loss_without_probabilities_is_told():
    classifier = TorchClassifier(criterion="multi_margin", **RECIPE).fit(X, species)
    assert not hasattr(classifier, "to_module")
    with pytest.raises(AttributeError) as raised:
        classifier.to_module()
    assert "defines no probabilities" in str(raised.value.__cause__)
