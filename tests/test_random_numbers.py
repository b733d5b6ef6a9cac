"""Whoever draws, from any generator, draws by random_state, and the caller's stay as they were.

Tables: who draws, from which generator, in which method.
"""

import random
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from sklearn.model_selection import GridSearchCV, cross_val_predict
from skorch.callbacks import Callback
from torch import nn
from torch.utils.data import Dataset

from sktorch import TorchClassifier

# Noise of a shape, from each default generator.
GENERATORS = {
    "numpy": lambda n: np.random.randn(n).tolist(),
    "python": lambda n: [random.gauss(0, 1) for _ in range(n)],
    "torch": lambda n: torch.randn(n).tolist(),
}


def noise(generator, shape):
    return torch.tensor(GENERATORS[generator](int(np.prod(shape)))).reshape(shape) / 10


def states():
    """Return the states of the default generators, comparable."""
    _, keys, *rest = np.random.get_state()
    return torch.get_rng_state().numpy().tobytes(), keys.tobytes(), rest, random.getstate()


@pytest.fixture(params=GENERATORS)
def generator(request):
    return request.param


def data():
    X = np.random.RandomState(0).randn(40, 4).astype("float32")
    return X, (X[:, 0] > 0).astype(int)


class Plain(nn.Module):
    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.linear = nn.Linear(n_features, n_outputs)

    def forward(self, X):
        return self.linear(X)


class NoisyForward(Plain):
    def __init__(self, n_features, n_outputs, generator):
        super().__init__(n_features, n_outputs)
        self.generator = generator

    def forward(self, X):
        return super().forward(X + noise(self.generator, X.shape))


class NoisyLoss(nn.CrossEntropyLoss):
    def __init__(self, generator):
        super().__init__()
        self.generator = generator

    def forward(self, output, target):
        return super().forward(output + noise(self.generator, output.shape), target)


class NoisyCallback(Callback):
    """Moves the weights."""

    def __init__(self, generator):
        self.generator = generator

    def move(self, net, *args, **kwargs):
        with torch.no_grad():
            net.module_.linear.bias += noise(self.generator, [2])


class OnTrainBegin(NoisyCallback):
    on_train_begin = NoisyCallback.move


class OnEpochBegin(NoisyCallback):
    on_epoch_begin = NoisyCallback.move


class OnEpochEnd(NoisyCallback):
    on_epoch_end = NoisyCallback.move


class OnBatchEnd(NoisyCallback):
    on_batch_end = NoisyCallback.move


class NoisyDataset(Dataset):
    def __init__(self, generator):
        self.generator = generator
        self.X, self.y = data()

    def __len__(self):
        return len(self.X)

    def __getitem__(self, row):
        return torch.from_numpy(self.X[row]) + noise(self.generator, [4]), self.y[row]


class NoisyScore:
    """A score of the user's, which draws."""

    def __init__(self, generator):
        self.generator = generator

    def __call__(self, estimator, X, y):
        return noise(self.generator, [1]).item()


# Parameters of an estimator whose code draws from a generator.
WHO = {
    "forward": lambda generator: {"module": NoisyForward, "module__generator": generator},
    "loss": lambda generator: {"criterion": NoisyLoss, "criterion__generator": generator},
    "on_train_begin": lambda generator: {"callbacks": [OnTrainBegin(generator)]},
    "on_epoch_begin": lambda generator: {"callbacks": [OnEpochBegin(generator)]},
    "on_epoch_end": lambda generator: {"callbacks": [OnEpochEnd(generator)]},
    "on_batch_end": lambda generator: {"callbacks": [OnBatchEnd(generator)]},
    "augment": lambda generator: {"augment": lambda X: X + noise(generator, X.shape)},
    "scoring": lambda generator: {"scoring": {"noise": NoisyScore(generator)}},
    "dataset": lambda generator: {},
}


def estimator(who, generator, **parameters):
    settings = {"max_epochs": 3, "batch_size": 8, "device": "cpu", "early_stopping": True}
    drawing = WHO[who](generator)
    return TorchClassifier(**{"module": Plain, "random_state": 7} | settings | drawing | parameters)


def trained_on(who, generator):
    return [NoisyDataset(generator)] if who == "dataset" else data()


def curves(fitted):
    """Return what is to be seen of a training."""
    names = ["train_loss", *(["valid_noise"] if "valid_noise" in fitted.history_[-1] else [])]
    weights = fitted.module_.linear.weight.tolist(), fitted.module_.linear.bias.tolist()
    return [fitted.history_[:, name] for name in names if "train" in name] + [*weights]


def once(model, X):
    return model.fit(*X)


def further(model, X):
    return model.set_params(early_stopping=False).fit(*X).partial_fit(*X)


def warm(model, X):
    model.set_params(early_stopping=False, warm_start=True, max_epochs=1)
    return model.fit(*X).fit(*X)


METHODS = {"fit": once, "partial_fit": further, "warm_start": warm}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("who", WHO)
def test_training_draws_by_random_state(who, generator, method):
    seen = []
    for outside, random_state in enumerate((7, 7, 8)):
        np.random.seed(outside), random.seed(outside), torch.manual_seed(outside)
        np.random.randn(outside)  # numpy keeps every second one.
        before = states()
        model = estimator(who, generator, random_state=random_state)
        if who == "scoring" and method != "fit":
            model.set_params(validation=data())
        fitted = METHODS[method](model, trained_on(who, generator))
        assert states() == before
        seen.append(curves(fitted))
        if who == "scoring" and method == "fit":
            seen[-1].append(fitted.history_[:, "valid_noise"])
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]


@pytest.mark.parametrize("who", ["forward", "dataset"])
def test_numbers_go_on_from_epoch_to_epoch(who, generator):
    model = estimator(who, generator, lr=1e-9, early_stopping=False, optimizer="sgd")
    losses = model.fit(*trained_on(who, generator)).loss_curve_
    assert len(set(losses)) == len(losses) == 3


def test_epochs_in_parts_draw_what_they_draw_in_one(generator):
    whole = estimator("forward", generator, early_stopping=False).fit(*data())
    parts = estimator("forward", generator, early_stopping=False)
    for _ in range(3):
        parts.partial_fit(*data(), classes=[0, 1])
    assert curves(parts) == curves(whole)


# Predictions draw numbers of their own.

PREDICTIONS = {
    "predict": lambda fitted, X: fitted.predict(X).tolist(),
    "predict_proba": lambda fitted, X: fitted.predict_proba(X).tolist(),
    "score": lambda fitted, X: fitted.score(X, data()[1]),
}


@pytest.mark.parametrize("method", PREDICTIONS)
@pytest.mark.parametrize("who", ["forward", "dataset"])
def test_predictions_leave_generators_as_they_were(who, generator, method):
    X = NoisyDataset(generator) if who == "dataset" else data()[0]
    seen = []
    for outside in (0, 1):
        fitted = estimator(who, generator).fit(*trained_on(who, generator))
        np.random.seed(outside), random.seed(outside), torch.manual_seed(outside)
        before = states()
        seen.append([PREDICTIONS[method](fitted, X) for _ in range(2)])
        assert states() == before
    assert seen[0] == seen[1]


def test_a_score_by_the_samples_targets_leaves_generators_as_they_were(generator):
    samples = NoisyDataset(generator)
    fitted = estimator("dataset", generator).fit(samples)
    before = states()
    fitted.score(samples)
    assert states() == before


@pytest.mark.parametrize("who", ["forward", "dataset"])
def test_predictions_differ_from_call_to_call(who, generator):
    """As Monte Carlo dropout and augmentations at test time need it."""
    X = NoisyDataset(generator) if who == "dataset" else data()[0]
    fitted = estimator(who, generator).fit(*trained_on(who, generator))
    one, other = fitted.predict_proba(X), fitted.predict_proba(X)
    assert (one != other).any()


def test_training_goes_on_as_without_predictions(generator):
    curves_of = []
    for predicts in (False, True):
        fitted = estimator("forward", generator, early_stopping=False).fit(*data())
        if predicts:
            fitted.predict(data()[0])
        curves_of.append(curves(fitted.partial_fit(*data())))
    assert curves_of[0] == curves_of[1]


def test_a_module_that_draws_in_training_alone_predicts_the_same_each_time(generator):
    fitted = estimator("loss", generator).fit(*data())
    before = states()
    X = data()[0]
    np.testing.assert_array_equal(fitted.predict_proba(X), fitted.predict_proba(X))
    assert states() == before


# Fits inside each other, side by side, and in a search.


class FitsAnother(Callback):
    """Fits another model, whose module draws, after each epoch."""

    def __init__(self, generator):
        self.generator = generator

    def on_epoch_end(self, net, **kwargs):
        inner = estimator("forward", self.generator, random_state=3).fit(*data())
        inner.predict(data()[0])
        net.history.record("inner", inner.loss_curve_)


def test_a_fit_inside_a_fit(generator):
    before = states()
    fitted = estimator("forward", generator, callbacks=[FitsAnother(generator)]).fit(*data())
    assert states() == before
    assert curves(fitted) == curves(estimator("forward", generator).fit(*data()))
    inner = estimator("forward", generator, random_state=3).fit(*data())
    assert fitted.history_[:, "inner"] == [inner.loss_curve_] * 3


@pytest.mark.parametrize("who", ["forward", "loss", "on_epoch_end", "on_batch_end"])
def test_fits_in_threads_are_the_fits_alone(who, generator):
    def fit(seed):
        return curves(estimator(who, generator, random_state=seed).fit(*data()))

    alone, before = [fit(seed) for seed in range(3)], states()
    with ThreadPoolExecutor(3) as threads:
        assert [*threads.map(fit, range(3))] == alone
    assert states() == before


@pytest.mark.parametrize("who", ["forward", "loss", "on_epoch_end", "on_batch_end", "augment"])
def test_fits_of_a_fused_search_are_the_fits_alone(who, generator):
    X, y = data()

    def probabilities():
        model = estimator(who, generator, max_epochs=2, batch_size=20)
        grid = {"lr": [0.01, 0.1]}
        search = GridSearchCV(model, grid, cv=2, scoring="neg_log_loss").fit(X, y)
        return search.cv_results_["split0_test_score"], cross_val_predict(model, X, y, cv=2)

    alone, before = probabilities(), states()
    with joblib.parallel_config("sktorch"):
        together = probabilities()
    assert states() == before
    if (who, generator) == ("loss", "torch") or (who, generator) == ("forward", "torch"):
        return  # A stack draws torch's numbers for all of its models.
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


# A step is recorded once in a process, and later fits know whether it could be.


class OddForward(NoisyForward):
    """What a recording can't follow, after numbers were drawn."""

    def __init__(self, n_features, n_outputs, generator, oddity):
        super().__init__(n_features, n_outputs, generator)
        self.oddity = oddity

    def forward(self, X):
        output = super().forward(X)
        return output * ODDITIES[self.oddity](output)


ODDITIES = {
    "item": lambda output: 1 + 0 * output.max().item(),
    "numpy": lambda output: 1 + 0 * float(output.detach().numpy().max()),
    "bool": lambda output: 1.0 if output.max() > 0 else 0.9,
    "list": lambda output: 1 + 0 * output.tolist()[0][0],
    "nothing odd": lambda output: 1.0,
}


@pytest.mark.parametrize("oddity", ODDITIES)
def test_recordings_draw_no_numbers_of_their_own(generator, oddity):
    model = estimator("forward", generator, module=OddForward, module__oddity=oddity)
    model.set_params(max_epochs=30, n_iter_no_change=100)
    one, other, third = (curves(model.fit(*data())) for _ in range(3))
    assert one == other == third


def noisy_sgd(generator):
    """An optimizer that adds noise to the parameters, as Langevin dynamics do."""

    class NoisySGD(torch.optim.SGD):
        @torch.no_grad()
        def step(self, closure=None):
            super().step(closure)
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.add_(noise(generator, parameter.shape))

    return NoisySGD


def test_an_optimizer_draws_from_the_stream_of_its_net(generator):
    X, y = data()
    optimizer = noisy_sgd(generator)
    fits = [TorchClassifier(optimizer=optimizer, max_epochs=3, random_state=0) for _ in range(4)]
    before = states()
    for fit in fits[:2]:
        fit.fit(X, y)
    with joblib.parallel_config("sktorch"):
        fits[2:] = joblib.Parallel()(joblib.delayed(fit.fit)(X, y) for fit in fits[2:])
    assert states() == before
    assert all(fit.loss_curve_ == fits[0].loss_curve_ for fit in fits)
