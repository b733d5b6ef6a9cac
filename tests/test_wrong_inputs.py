"""Wrong inputs, and what is said about them; inputs that only look wrong."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.model_selection import cross_val_score
from torch.utils.data import TensorDataset

from sktorch.data import pad_sequences
from tests.data.samples import Items, ItemStream
from tests.test_kinds_of_input import (
    MeanStep,
    Parts,
    classifier,
    inputs_of,
    pairs_of,
    parts_of,
    sequences_of,
)

X, Y = np.random.RandomState(0).randn(40, 4).astype("float32"), np.arange(40) % 2
PAIRS, INPUTS = pairs_of(X, Y), inputs_of(X)
SEQUENCES = sequences_of(X)
WITH_NAN = [*SEQUENCES[:-1], np.full((2, 4), np.nan, dtype="float32")]
ODD_ONE = [*PAIRS[:-1], (torch.zeros(5), 1)]
TWO_LENGTHS = [(torch.from_numpy(s), int(c)) for s, c in zip(SEQUENCES, Y, strict=True)]


class Once(ItemStream):
    """A stream that has only one pass."""

    def __init__(self, items):
        self.items = iter(items)

    def __iter__(self):
        return self.items


class Unsized(torch.utils.data.Dataset):
    def __getitem__(self, position):
        return PAIRS[position]


def with_strings(X):
    return pd.DataFrame(X, columns=list("abcd")).assign(
        d=pd.Categorical(["low", "high"] * (len(X) // 2))
    )


# name: (X, y, parameters, error, message)
WRONG_TO_FIT = {
    "no samples": (Items([]), None, {}, ValueError, r"dataset with 0 sample\(s\) while a minimum"),
    "no samples, y beside": (Items([]), [], {}, ValueError, r"dataset with 0 sample\(s\)"),
    "stream without samples": (ItemStream([]), None, {}, ValueError, r"dataset with 0 sample"),
    "no targets": (Items(INPUTS), None, {}, TypeError, "A sample .* is Tensor.*pass y beside"),
    "stream without targets": (ItemStream(INPUTS), None, {}, TypeError, "pass y beside"),
    "no length": (Unsized(), None, {}, TypeError, "Unsized has no length.*Pass a map-style"),
    "no length, y beside": (Unsized(), Y, {}, TypeError, "Unsized has no length"),
    "y too short": (Items(INPUTS), Y[:30], {}, ValueError, r"numbers of samples: \[40, 30\]"),
    "y of a stream too short": (
        ItemStream(INPUTS),
        Y[:30],
        {},
        ValueError,
        "gives more samples than the 30 of y. Give y as many rows",
    ),
    "y of a stream too long": (
        ItemStream(INPUTS[:30]),
        Y,
        {},
        ValueError,
        "gives fewer samples than the 40 of y. Give y as many rows",
    ),
    "stream to split": (
        ItemStream(PAIRS),
        None,
        {"early_stopping": True},
        ValueError,
        r"IterableDataset can't be split. Pass .* as validation=\(X_val, y_val\)",
    ),
    "stream with y beside and workers": (
        ItemStream(INPUTS),
        Y,
        {"iterator_train__num_workers": 2},
        ValueError,
        "num_workers=2 reads .* in another order than y.*Leave out num_workers",
    ),
    "a stream that is read only once": (
        Once(PAIRS),
        None,
        {},
        ValueError,
        "Once.__iter__ returns the same iterator every time.*Let it return a new one",
    ),
    "samples without a dimension": (
        Items([(1.0, 0), (2.0, 1)]),
        None,
        {},
        ValueError,
        "MLP does not take a batch of shape .*n_features",
    ),
    "shuffled stream": (
        ItemStream(PAIRS),
        None,
        {"iterator_train__shuffle": True},
        ValueError,
        "expected unspecified shuffle option",
    ),
    "samples of two shapes": (
        Items(TWO_LENGTHS),
        None,
        {},
        ValueError,
        "don't stack to a batch.*iterator_train__collate_fn .*pad_sequences",
    ),
    "a later sample of another shape": (
        Items(ODD_ONE),
        None,
        {},
        ValueError,
        r"don't stack to a batch: .*\[4\].*\[5\].*Let the dataset return tensors of one shape",
    ),
    "samples of text": (
        Items([("good", 1), ("bad", 0)]),
        None,
        {},
        ValueError,
        "inputs are collated to str; expected a tensor",
    ),
    "samples of anything": (
        Items([(object(), 1), (object(), 0)]),
        None,
        {},
        ValueError,
        "don't stack to a batch: default_collate: batch must contain tensors",
    ),
    "a list of samples": (PAIRS, Y, {}, ValueError, "list of samples, each a tuple.*Sliceable"),
    "a list of dicts": (
        [parts_of(x) for x in X],
        Y,
        {},
        ValueError,
        "list of samples, each a dict.*SliceableDataset",
    ),
    "NaN in a sequence": (WITH_NAN, Y, {"module": MeanStep}, ValueError, r"X\[39\] contains NaN"),
    "sequences of other steps": (
        [*SEQUENCES[:-1], np.zeros((3, 5))],
        Y,
        {"module": MeanStep},
        ValueError,
        r"steps have the shapes \[\(4,\), \(5,\)\]; expected one shape",
    ),
    "an empty sequence": (
        [*SEQUENCES[:-1], np.zeros((0, 4), dtype="float32")],
        Y,
        {"module": MeanStep},
        ValueError,
        r"0 sample\(s\)",
    ),
    "NaN in a dict": (
        parts_of(np.where(np.arange(40)[:, None] == 3, np.nan, X)),
        Y,
        {"module": Parts},
        ValueError,
        r"X\['sepal'\] contains NaN",
    ),
    "a dict of other lengths": (
        {"sepal": X[:, :2], "petal": X[:30, 2:]},
        Y,
        {"module": Parts},
        ValueError,
        r"inconsistent numbers of samples: \[40, 30",
    ),
    "a dict of other names": (
        {"sepal": X[:, :2], "leaf": X[:, 2:]},
        Y,
        {"module": Parts},
        ValueError,
        "Parts does not take a batch.*unexpected keyword argument 'leaf'",
    ),
    "an empty dict": ({}, Y, {}, ValueError, r"dict with the keys \[\]; expected the names"),
    "keys that are no names": ({0: X}, Y, {}, ValueError, r"keys \[0\]; expected the names"),
    "categories of text": (
        with_strings(X),
        Y,
        {},
        ValueError,
        "(?s)X holds values that are no numbers: .*make_cleaner.*text",
    ),
    "NaN in a Dataset": (
        Items([*PAIRS, (torch.full((4,), torch.nan), 1)]),
        None,
        {},
        ValueError,
        "train_loss is nan in epoch 1, batch 2 of 2",
    ),
    "too few for a hold-out": (
        Items(PAIRS[:2]),
        None,
        {"early_stopping": True},
        ValueError,
        "A hold-out of 1 rows is needed.*set early_stopping=False",
    ),
}


@pytest.mark.parametrize("name", WRONG_TO_FIT)
def test_wrong_to_fit(name):
    X, y, parameters, error, message = WRONG_TO_FIT[name]
    estimator = classifier(**parameters)
    with pytest.raises(error, match=message):
        estimator.fit(X, y)
    assert not [attribute for attribute in vars(estimator) if attribute.endswith("_")]


FITS = {
    "table": lambda: classifier().fit(X, Y),
    "dict": lambda: classifier(module=Parts).fit(parts_of(X), Y),
    "sequences": lambda: classifier(module=MeanStep).fit(SEQUENCES, Y),
    "dataset": lambda: classifier().fit(Items(PAIRS)),
    "two inputs": lambda: classifier(module=Parts).fit(
        Items([(x[:2], x[2:], c) for x, c in PAIRS])
    ),
    "padded dataset": lambda: classifier(
        module=MeanStep, iterator_train__collate_fn=pad_sequences
    ).fit(Items(TWO_LENGTHS)),
    "batch size set afterwards": lambda: (
        classifier().fit(Items(PAIRS)).set_params(batch_size="all")
    ),
    "no batch size": lambda: classifier().fit(Items(PAIRS)).set_params(batch_size=None),
    "loader without its last batch": lambda: (
        classifier().fit(Items(PAIRS)).set_params(iterator_valid__drop_last=True)
    ),
    "loader with a sampler": lambda: (
        classifier().fit(Items(PAIRS)).set_params(iterator_valid__sampler=[3, 2, 1])
    ),
    "loader with workers": lambda: (
        classifier().fit(ItemStream(PAIRS)).set_params(iterator_valid__num_workers=2)
    ),
}

WRONG_TO_PREDICT = [
    ("dict", {"sepal": X[:, :2]}, r"entries \['sepal'\], but .* fitted on \['sepal', 'petal'\]"),
    ("dict", parts_of(X) | {"leaf": X}, r"entries \['sepal', 'petal', 'leaf'\], but"),
    ("dict", X, r"samples of shape \(4,\), but .*\{'sepal': \(2,\), 'petal': \(2,\)\}"),
    ("dict", {"sepal": X, "petal": X}, r"its module does not take others.*Reshape X"),
    ("table", parts_of(X), r"samples of shape \{'sepal'.*fitted on samples of shape \(4,\)"),
    ("table", SEQUENCES, r"samples of shape \(None, 4\).*\(4,\)"),
    ("sequences", X, r"samples of shape \(4,\), but .*\(None, 4\). Reshape X"),
    ("sequences", [s[:, :3] for s in SEQUENCES], r"\(None, 3\).*\(None, 4\).*does not take others"),
    ("dataset", X[:, :3], r"samples of shape \(3,\).*fitted on samples of shape \(4,\)"),
    ("dataset", Items([]), r"dataset with 0 sample\(s\)"),
    ("dataset", ItemStream([]), r"dataset with 0 sample\(s\)"),
    ("dataset", Items(ODD_ONE), "don't stack to a batch"),
    ("dataset", PAIRS, "list of samples, each a tuple"),
    ("padded dataset", Items(TWO_LENGTHS), "don't stack.*iterator_valid__collate_fn"),
    ("batch size set afterwards", Items(PAIRS), "batch_size must be a positive integer, got 'all'"),
    ("no batch size", Items(PAIRS), "batch_size must be a positive integer, got None"),
    ("loader without its last batch", Items(PAIRS), r"iterator_valid can't take \['drop_last'\]"),
    ("loader with a sampler", Items(PAIRS), r"iterator_valid can't take \['sampler'\]"),
    ("loader with workers", ItemStream(PAIRS), "num_workers=2 reads .* another order"),
]


@pytest.mark.parametrize(("fitted", "wrong", "message"), WRONG_TO_PREDICT)
def test_wrong_to_predict(fitted, wrong, message):
    with pytest.raises(ValueError, match=message):
        FITS[fitted]().predict(wrong)


@pytest.mark.parametrize("fitted", ["batch size set afterwards", "no batch size"])
def test_arrays_are_predicted_whatever_the_batch_size(fitted):
    expected = classifier().fit(Items(PAIRS)).predict(X)
    assert (FITS[fitted]().predict(X) == expected).all()


def test_a_dataset_that_scikit_learn_indexes_says_what_wraps_it():
    dataset = TensorDataset(torch.tensor(X), torch.tensor(Y))
    with pytest.raises(ValueError, match=r"pass it as sktorch\.data\.SliceableDataset"):
        cross_val_score(classifier(), dataset, Y, cv=2, error_score="raise")


def test_inputs_may_come_without_their_targets_to_predict():
    fitted = FITS["dataset"]()
    expected = fitted.predict_proba(X)
    for given in (Items(PAIRS), Items(INPUTS), ItemStream(PAIRS), ItemStream(INPUTS), X):
        np.testing.assert_allclose(fitted.predict_proba(given), expected, rtol=1e-5)
    two = FITS["two inputs"]()
    with_targets = two.predict_proba(Items([(x[:2], x[2:], c) for x, c in PAIRS]))
    without = two.predict_proba(Items([(x[:2], x[2:]) for x, _ in PAIRS]))
    np.testing.assert_array_equal(with_targets, without)


def test_sequences_of_several_dtypes_and_read_only_ones():
    mixed = [s.astype(["float32", "float64"][i % 2]) for i, s in enumerate(SEQUENCES)]
    for sequence in mixed:
        sequence.setflags(write=False)
    fitted = classifier(module=MeanStep).fit(mixed, Y)
    expected = FITS["sequences"]().predict_proba(SEQUENCES)
    np.testing.assert_allclose(fitted.predict_proba(mixed), expected, rtol=1e-4)


def test_sequences_of_one_length_by_chance_are_still_sequences():
    sequences = np.empty(40, dtype=object)
    sequences[:] = [np.tile(x, (2, 1)) for x in X]
    fitted = classifier(module=MeanStep).fit(sequences, Y)
    assert fitted.input_shape_ == (None, 4)
    assert fitted.predict(SEQUENCES).shape == (40,)


def test_pandas_categories_that_are_numbers_are_numbers():
    frame = pd.DataFrame(X, columns=list("abcd")).assign(d=pd.Categorical(np.arange(40) % 3 * 10))
    expected = classifier().fit(frame.astype("float64"), Y).predict_proba(frame.astype("float64"))
    fitted = classifier().fit(frame, Y)
    assert fitted.cardinalities_ is None
    np.testing.assert_array_equal(fitted.predict_proba(frame), expected)
