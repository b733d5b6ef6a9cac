"""Each kind of input is fitted, predicted, scored, cross-validated, cloned and pickled.

Every kind holds the same flowers, so that all give the model of the plain table.
"""

import pickle
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score
from torch import nn
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from sktorch import TorchClassifier, TorchRegressor
from sktorch.data import SliceableDataset, pad_sequences
from sktorch.modules import MLP, TabularMLP
from tests.data.samples import Files, Items, ItemStream

NAMES = np.array(["setosa", "versicolor", "virginica"])


class Parts(nn.Module):
    """Takes its input in two parts, by name or by position."""

    def __init__(self, n_outputs):
        super().__init__()
        self.mlp = MLP(4, n_outputs, hidden=(8,))

    def forward(self, sepal, petal):
        return self.mlp(torch.cat([sepal, petal], dim=1))


class MeanStep(nn.Module):
    """Judges a sequence by the mean of its steps."""

    def __init__(self, n_outputs):
        super().__init__()
        self.mlp = MLP(4, n_outputs, hidden=(8,))

    def forward(self, steps, lengths):
        return self.mlp(steps.sum(1) / lengths[:, None])


@dataclass
class Given:
    """X and y as they are given, and what they are compared with."""

    X: object
    y: object = None  # None: inside
    parameters: dict = field(default_factory=dict)
    indexable: object = None  # X for cross-validation, if another; False where there is none
    plain: object = None  # the table for the same parameters; None: that of the numbers
    plain_parameters: dict = field(default_factory=dict)


def classifier(**parameters):
    settings = {
        "module": MLP,
        "max_epochs": 12,
        "lr": 0.05,
        "batch_size": 32,
        "random_state": 0,
        "device": "cpu",
    }
    settings |= parameters
    if settings["module"] is MLP or settings["module"] is TabularMLP:
        settings |= {"module__hidden": (8,)}
    return TorchClassifier(**settings)


@pytest.fixture(scope="module")
def flowers(iris):
    """Float32 of shape (150, 4), in another order than by class, and codes."""
    order = np.random.RandomState(0).permutation(150)
    X, y = iris
    return X[order].astype("float32"), y[order]


def parts_of(x):
    return {"sepal": x[..., :2], "petal": x[..., 2:]}


def sequences_of(X):
    """Sequences of one to four steps whose mean is the row."""
    return [np.tile(x, (1 + position % 4, 1)) for position, x in enumerate(X)]


def pairs_of(X, y):
    return [(torch.from_numpy(x), int(label)) for x, label in zip(X, y, strict=True)]


def inputs_of(X):
    return [torch.from_numpy(x) for x in X]


def frame_with_codes(X, y, folder):
    codes = np.stack([np.digitize(column, [-0.5, 0, 0.5]) for column in X.T[2:]], axis=1)
    frame = pd.DataFrame(X[:, :2], columns=["a", "b"])
    for name, column in zip("cd", codes.T, strict=True):
        frame[name] = pd.Categorical(column, categories=range(4))
    table = np.c_[X[:, :2], codes].astype("float32")
    return Given(
        frame,
        y,
        {"module": TabularMLP},
        plain=table,
        plain_parameters={"module__cardinalities": (0, 0, 4, 4)},
    )


def objects(X, y, folder):
    sequences = np.empty(len(X), dtype=object)
    sequences[:] = sequences_of(X)
    return Given(sequences, y, {"module": MeanStep})


def padded_dataset(X, y, folder):
    samples = [(torch.from_numpy(s), int(c)) for s, c in zip(sequences_of(X), y, strict=True)]
    return Given(
        Items(samples),
        parameters={
            "module": MeanStep,
            "iterator_train__collate_fn": pad_sequences,
            "iterator_valid__collate_fn": pad_sequences,
        },
    )


def memory_map(X, y, folder):
    X.tofile(folder / "X.dat")
    return Given(np.memmap(folder / "X.dat", dtype="float32", mode="r", shape=X.shape), y)


def files(X, y, folder):
    paths = [folder / f"{position}.npy" for position in range(len(X))]
    for path, x in zip(paths, X, strict=True):
        np.save(path, x)
    return Given(Files(paths, NAMES[y]))


UNSHUFFLED = {"iterator_train__shuffle": False}

KINDS = {
    "table": lambda X, y, _: Given(X, y),
    "frame with codes": frame_with_codes,
    "images": lambda X, y, _: Given(X.reshape(-1, 1, 2, 2), y),
    "sparse": lambda X, y, _: Given(sparse.csr_array(X), y),
    "dict": lambda X, y, _: Given(
        parts_of(X), y, {"module": Parts}, indexable=slice_dict(parts_of(X))
    ),
    "dict of tensors": lambda X, y, _: Given(
        parts_of(torch.from_numpy(X)), y, {"module": Parts}, indexable=slice_dict(parts_of(X))
    ),
    "list of sequences": lambda X, y, _: Given(sequences_of(X), y, {"module": MeanStep}),
    "array of sequences": objects,
    "list of tensors, sequences": lambda X, y, _: Given(
        [torch.from_numpy(s) for s in sequences_of(X)], y, {"module": MeanStep}
    ),
    "list of tensors": lambda X, y, _: Given(inputs_of(X), y),
    "TensorDataset": lambda X, y, _: Given(TensorDataset(torch.tensor(X), torch.tensor(y))),
    "TensorDataset, y beside": lambda X, y, _: Given(TensorDataset(torch.tensor(X)), NAMES[y]),
    "Dataset of dicts": lambda X, y, _: Given(
        Items([(parts_of(x), NAMES[c]) for x, c in zip(X, y, strict=True)]),
        parameters={"module": Parts},
    ),
    "Dataset of two inputs": lambda X, y, _: Given(
        Items([(x[:2], x[2:], c) for x, c in pairs_of(X, y)]), parameters={"module": Parts}
    ),
    "Dataset, y beside": lambda X, y, _: Given(Items(inputs_of(X)), y),
    "Subset": lambda X, y, _: Given(
        Subset(Items([*pairs_of(X[::-1], y[::-1]), (torch.zeros(9), 7)]), range(149, -1, -1))
    ),
    "ConcatDataset": lambda X, y, _: Given(
        ConcatDataset(
            [
                Items(pairs_of(X[:50], y[:50])),
                TensorDataset(torch.tensor(X[50:]), torch.tensor(y[50:])),
            ]
        )
    ),
    "SliceableDataset": lambda X, y, _: Given(SliceableDataset(Items(pairs_of(X, y)))),
    "Dataset with a padding collate_fn": padded_dataset,
    "memory map": memory_map,
    "files": files,
    "stream": lambda X, y, _: Given(
        ItemStream(pairs_of(X, y)), indexable=False, plain_parameters=UNSHUFFLED
    ),
    "stream, y beside": lambda X, y, _: Given(
        ItemStream(inputs_of(X)), NAMES[y], indexable=False, plain_parameters=UNSHUFFLED
    ),
    "stream of dicts": lambda X, y, _: Given(
        ItemStream([(parts_of(x), c) for x, c in pairs_of(X, y)]),
        parameters={"module": Parts},
        indexable=False,
        plain_parameters=UNSHUFFLED,
    ),
}


def slice_dict(X):
    from skorch.helper import SliceDict

    return SliceDict(**X)


@pytest.fixture(params=KINDS)
def given(request, flowers, tmp_path):
    return KINDS[request.param](*flowers, tmp_path)


def plain_of(given, X):
    """The table that the input comes to, and an estimator for it."""
    module = given.parameters.get("module", MLP)
    parameters = {"module": module if module is TabularMLP else MLP} | given.plain_parameters
    return (X if given.plain is None else given.plain), classifier(**parameters)


def test_fit_predict_score_clone_and_pickle(given, flowers):
    X, y = flowers
    fitted = classifier(**given.parameters).fit(given.X, given.y)
    table, plain = plain_of(given, X)
    expected = plain.fit(table, y).predict_proba(table)
    probabilities = fitted.predict_proba(given.X)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(fitted.loss_curve_, plain.loss_curve_, rtol=1e-4)

    labels = fitted.predict(given.X)
    np.testing.assert_array_equal(labels, fitted.classes_[expected.argmax(1)])
    assert fitted.score(given.X, given.y) == plain.score(table, y) > 0.85

    again = clone(fitted).fit(given.X, given.y)
    np.testing.assert_array_equal(again.predict_proba(given.X), probabilities)
    revived = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(revived.predict_proba(given.X), probabilities)
    assert revived.partial_fit(given.X, given.y).n_epochs_ == 13


def test_cross_validation(given, flowers):
    X, y = flowers
    if given.indexable is False:
        with pytest.raises(TypeError, match=r"must be an array-like .*ItemStream"):
            cross_val_score(classifier(), given.X, y, cv=2)
        return
    indexable = given.X if given.indexable is None else given.indexable
    if isinstance(given.X, torch.utils.data.Dataset):
        indexable = SliceableDataset(given.X, has_targets=given.y is None)
    table, plain = plain_of(given, X)
    scores = cross_val_score(classifier(**given.parameters), indexable, y, cv=2)
    np.testing.assert_allclose(scores, cross_val_score(plain, table, y, cv=2), atol=0.014)


@pytest.mark.parametrize("kind", ["TensorDataset", "Dataset of dicts", "files"])
def test_rows_held_out_are_those_of_the_table(kind, flowers, tmp_path):
    X, y = flowers
    given = KINDS[kind](X, y, tmp_path)
    fitted = classifier(early_stopping=True, **given.parameters).fit(given.X)
    expected = classifier(early_stopping=True).fit(X, y)
    np.testing.assert_allclose(fitted.validation_scores_, expected.validation_scores_)
    np.testing.assert_allclose(fitted.predict_proba(given.X), expected.predict_proba(X), rtol=1e-3)


@pytest.mark.parametrize("kind", ["TensorDataset", "stream", "Dataset, y beside"])
def test_weights_beside_a_dataset(kind, flowers, tmp_path):
    X, y = flowers
    weights = np.random.RandomState(0).randint(1, 4, len(y)).astype(float)
    given = KINDS[kind](X, y, tmp_path)
    fitted = classifier().fit(given.X, given.y, sample_weight=weights)
    expected = classifier(**given.plain_parameters).fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(fitted.loss_curve_, expected.loss_curve_, rtol=1e-5)


class Shuffled(ItemStream):
    """A stream that shuffles itself for every pass."""

    def __iter__(self):
        return iter([self.items[i] for i in torch.randperm(len(self.items))])


def test_a_stream_that_shuffles_itself_is_scored_by_the_targets_of_the_same_pass(flowers):
    X, y = flowers
    pairs = pairs_of(X, y)
    fitted = classifier().fit(Shuffled(pairs))
    assert fitted.score(Shuffled(pairs)) == fitted.score(X, y) > 0.9
    validated = classifier(validation=Shuffled(pairs), scoring="neg_log_loss").fit(X, y)
    last = validated.history_[-1]
    assert last["valid_acc"] == validated.score(X, y)
    expected = -log_loss(y, validated.predict_proba(X), labels=validated.classes_)
    assert last["valid_neg_log_loss"] == pytest.approx(expected, rel=1e-5)
    on_train = classifier(scoring="accuracy").fit(Shuffled(pairs))
    assert on_train.history_[-1, "train_accuracy"] == on_train.score(X, y)


def identity(n_features=3):
    module = nn.Linear(n_features, n_features, bias=False)
    nn.init.eye_(module.weight)
    return module


def test_a_perfect_model_scores_one_on_a_stream_that_shuffles_itself():
    codes = np.arange(40) % 3
    pairs = [(torch.eye(3)[code], NAMES[code]) for code in codes]
    perfect = classifier(module=identity, lr=1e-9, validation=Shuffled(pairs), early_stopping=True)
    perfect.fit(Shuffled(pairs))
    assert perfect.validation_scores_ == [1.0] * perfect.n_epochs_
    assert perfect.score(Shuffled(pairs)) == 1.0

    numbers = np.linspace(-1, 1, 40, dtype="float32")[:, None]
    stream = Shuffled([(torch.from_numpy(x), float(x[0])) for x in numbers])
    settings = {"module": partial(identity, 1), "lr": 1e-9, "max_epochs": 2, "device": "cpu"}
    exact = TorchRegressor(validation=stream, scale_target=False, random_state=0, **settings)
    exact.fit(stream)
    assert exact.validation_scores_ == pytest.approx([1.0, 1.0])
    assert exact.score(stream) == pytest.approx(1.0)
