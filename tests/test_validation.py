"""Rows to validate on: given, drawn, or split; never one that is trained on."""

import numpy as np
import pytest
import sklearn
import torch
from sklearn.datasets import load_diabetes
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    PredefinedSplit,
    RepeatedKFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_val_score,
    train_test_split,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import TensorDataset

from sktorch import TorchClassifier, TorchRegressor
from sktorch.modules import MLP

N_ROWS = 60
CODES = np.arange(N_ROWS) % 3
GROUPS = np.arange(N_ROWS) // 5  # twelve groups
# A row's number stands in its first column, so that a module can tell which rows it was given.
X = np.column_stack([np.arange(N_ROWS), np.eye(3)[CODES]]).astype("float32")


class Recording(nn.Module):
    """A linear model that remembers which rows it has seen in training, and which in evaluation."""

    seen: dict  # of the last fit

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        Recording.seen = {True: set(), False: set()}

    def forward(self, X):
        if self.training or Recording.seen[True]:  # It is tried on two rows before.
            Recording.seen[self.training] |= set(X[:, 0].int().tolist())
        return self.linear(X[:, 1:])


@pytest.fixture
def fit_recorded():
    """``fit_recorded(..., **parameters) -> (train, valid, fitted)``: rows the module has seen."""

    def fit(*data, given=(X, CODES), batch_size=7, **parameters):
        options = {"groups": parameters.pop("groups", None)}
        settings = {"max_epochs": 3, "random_state": 0, "device": "cpu", "batch_size": batch_size}
        fitted = TorchClassifier(Recording, **(settings | parameters))
        fitted.fit(*given, *data, **options)
        return Recording.seen[True], Recording.seen[False], fitted

    return fit


SPLITTERS = {
    "KFold": (KFold(5), False),
    "shuffled": (KFold(5, shuffle=True, random_state=1), False),
    "StratifiedKFold": (StratifiedKFold(4), False),
    "RepeatedKFold": (RepeatedKFold(n_splits=3, n_repeats=2, random_state=0), False),
    "ShuffleSplit": (ShuffleSplit(1, test_size=0.2, random_state=0), False),
    "TimeSeriesSplit": (TimeSeriesSplit(4), False),
    "with a gap": (TimeSeriesSplit(3, gap=5), False),
    "GroupKFold": (GroupKFold(4), True),
    "StratifiedGroupKFold": (StratifiedGroupKFold(3), True),
    "GroupShuffleSplit": (GroupShuffleSplit(1, test_size=0.25, random_state=0), True),
    "PredefinedSplit": (PredefinedSplit(np.where(CODES == 1, -1, GROUPS % 2 - 1)), False),
}


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("name", SPLITTERS)
def test_the_last_split_of_a_splitter(fit_recorded, name, early_stopping):
    splitter, takes_groups = SPLITTERS[name]
    groups = GROUPS if takes_groups else None
    *_, (train, valid) = splitter.split(X, CODES, groups)
    trained, validated, fitted = fit_recorded(
        validation=splitter, early_stopping=early_stopping, groups=groups
    )
    assert trained == set(train)
    assert validated == set(valid)
    assert not trained & validated
    assert fitted.history_[-1, "valid_batch_count"] == -(-len(valid) // 7)
    if takes_groups:
        assert not set(GROUPS[[*trained]]) & set(GROUPS[[*validated]])
    if "TimeSeries" in name:
        assert max(trained) < min(validated)


def test_a_drawn_hold_out(fit_recorded):
    train, valid = train_test_split(
        np.arange(N_ROWS), test_size=0.2, stratify=CODES, random_state=0
    )
    trained, validated, _ = fit_recorded(early_stopping=True, validation_fraction=0.2)
    assert (trained, validated) == (set(train), set(valid))


@pytest.mark.parametrize("splitter", [ShuffleSplit(1), KFold(4, shuffle=True)])
def test_a_splitter_without_a_seed_of_its_own_goes_by_random_state(fit_recorded, splitter):
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first, again = (fit_recorded(validation=splitter)[1] for _ in range(2))
    other = fit_recorded(validation=splitter, random_state=1)[1]
    assert first == again != other
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("fraction", [0.1, 0.3])
def test_groups_are_held_out_whole(fit_recorded, fraction):
    trained, validated, _ = fit_recorded(
        early_stopping=True, validation_fraction=fraction, groups=GROUPS
    )
    assert trained | validated == set(range(N_ROWS))
    assert not set(GROUPS[[*trained]]) & set(GROUPS[[*validated]])
    assert len(validated) == 5 * np.ceil(fraction * 12)


def test_names_may_be_groups(fit_recorded):
    names = np.array([f"patient {group}" for group in GROUPS])
    one, _, _ = fit_recorded(early_stopping=True, groups=names)
    two, _, _ = fit_recorded(early_stopping=True, groups=names.tolist())
    assert one == two


def test_groups_without_a_hold_out_change_nothing(fit_recorded):
    trained, validated, _ = fit_recorded(groups=GROUPS)
    assert trained == set(range(N_ROWS))
    assert not validated


def as_dataset(X, y):
    return TensorDataset(torch.as_tensor(X), torch.as_tensor(y))


GIVEN = {
    "arrays": lambda X, y: (X, y),
    "lists": lambda X, y: (X.tolist(), y.tolist()),
    "tensors": lambda X, y: (torch.as_tensor(X), torch.as_tensor(y)),
    "dataset": as_dataset,
    "dataset and targets": lambda X, y: (as_dataset(X, y), y),
    "weights": lambda X, y: (X, y, np.ones(len(y))),
}


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("kind", GIVEN)
def test_rows_that_are_given(fit_recorded, kind, early_stopping):
    if kind == "dataset and targets":
        given = (TensorDataset(torch.as_tensor(X[40:])), CODES[40:])
    else:
        given = GIVEN[kind](X[40:], CODES[40:])
    trained, validated, fitted = fit_recorded(
        given=(X[:40], CODES[:40]), validation=given, early_stopping=early_stopping
    )
    assert trained == set(range(40))
    assert validated == set(range(40, N_ROWS))
    assert len(fitted.validation_scores_) == fitted.n_epochs_


def test_weights_of_given_rows(fit_recorded):
    weight = np.arange(20) % 3
    _, validated, fitted = fit_recorded(validation=(X[40:], CODES[40:], weight))
    assert validated == {40 + row for row in np.flatnonzero(weight)}
    expected = fitted.score(X[40:], CODES[40:], sample_weight=weight)
    assert fitted.validation_scores_[-1] == pytest.approx(expected)


def test_rows_without_weight_are_in_neither_part(fit_recorded):
    weight = (np.arange(N_ROWS) % 4 > 0).astype(float)
    fold = PredefinedSplit(np.where(GROUPS < 3, 0, -1))
    for validation in (None, KFold(3), fold):
        parameters = {"validation": validation, "early_stopping": True}
        trained, validated, _ = fit_recorded(weight, **parameters)
        assert trained | validated == set(np.flatnonzero(weight))
        assert not trained & validated
    assert validated == {row for row in range(15) if weight[row]}


@pytest.mark.parametrize("validation", [KFold(3), (X[40:], CODES[40:])], ids=["KFold", "tuple"])
def test_without_early_stopping_scores_are_only_recorded(validation):
    settings = {"max_epochs": 25, "random_state": 0, "device": "cpu", "lr": 0.3}
    fitted = TorchClassifier(validation=validation, **settings).fit(X, CODES)
    assert fitted.best_epoch_ == fitted.n_epochs_
    assert len(fitted.history_[:, "valid_loss"]) == fitted.n_epochs_
    last = TorchClassifier(validation=validation, **(settings | {"max_epochs": fitted.n_epochs_}))
    np.testing.assert_array_equal(last.fit(X, CODES).predict_proba(X), fitted.predict_proba(X))


def test_early_stopping_keeps_the_best_on_given_rows(scaled):
    X, y = scaled("wine")
    X, y = X[::2], y[::2]
    other = scaled("wine")[0][1::2], scaled("wine")[1][1::2]
    fitted = TorchClassifier(
        validation=other, early_stopping=True, random_state=0, lr=0.02, monitor="valid_loss"
    ).fit(X, y)
    losses = fitted.history_[:, "valid_loss"]
    assert fitted.best_epoch_ == np.argmin(losses) + 1
    p = fitted.predict_proba(other[0])[np.arange(len(other[1])), other[1]]
    assert -np.log(p).mean() == pytest.approx(min(losses))


def test_partial_fit_validates_nothing():
    fitted = TorchClassifier(validation=(X, CODES)).partial_fit(X, CODES, classes=[0, 1, 2])
    assert fitted.validation_scores_ is None


def test_a_class_that_is_only_validated_on(fit_recorded):
    only = PredefinedSplit(np.where(CODES == 1, 0, -1))
    _, validated, fitted = fit_recorded(validation=only)
    assert validated == set(np.flatnonzero(CODES == 1))
    assert fitted.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("splitter", [KFold(4), TimeSeriesSplit(3), GroupKFold(3)])
def test_a_regressor(splitter):
    X, y = load_diabetes(return_X_y=True)
    groups = np.arange(len(y)) % 7 if isinstance(splitter, GroupKFold) else None
    *_, (train, valid) = splitter.split(X, y, groups)
    settings = {"max_epochs": 4, "random_state": 0, "device": "cpu"}
    split = TorchRegressor(validation=splitter, **settings).fit(X, y, groups=groups)
    given = TorchRegressor(validation=(X[valid], y[valid]), **settings).fit(X[train], y[train])
    np.testing.assert_allclose(split.predict(X), given.predict(X), rtol=1e-12)
    np.testing.assert_allclose(split.validation_scores_, given.validation_scores_, rtol=1e-12)


# Rows given to fit


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("weight", [None, np.arange(20) % 3])
@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
def test_rows_given_to_fit_are_those_of_the_parameter(kind, weight, early_stopping):
    settings = {"early_stopping": early_stopping, "max_epochs": 9, "random_state": 0, "lr": 0.05}
    rows = (X[40:], CODES[40:], weight)
    given = kind(**settings).fit(
        X[:40], CODES[:40], X_val=rows[0], y_val=rows[1], sample_weight_val=rows[2]
    )
    validation = rows if weight is not None else rows[:2]
    expected = kind(validation=validation, **settings).fit(X[:40], CODES[:40])
    assert given.validation is None
    assert given.validation_scores_ == expected.validation_scores_
    assert given.best_epoch_ == expected.best_epoch_
    np.testing.assert_array_equal(given.predict(X), expected.predict(X))


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("kind", ["arrays", "lists", "tensors", "dataset"])
def test_kinds_of_rows_given_to_fit(fit_recorded, kind, early_stopping):
    rows = GIVEN[kind](X[40:], CODES[40:])
    rows = {"X_val": rows} if kind == "dataset" else {"X_val": rows[0], "y_val": rows[1]}
    classifier = TorchClassifier(
        Recording, early_stopping=early_stopping, max_epochs=3, random_state=0, device="cpu"
    )
    classifier.fit(X[:40], CODES[:40], **rows)
    assert Recording.seen == {True: set(range(40)), False: set(range(40, N_ROWS))}
    assert len(classifier.validation_scores_) == classifier.n_epochs_


def test_rows_given_to_fit_are_labels_of_steps():
    steps = np.stack([CODES, CODES], axis=1) + 1  # labels, of which each row has two
    fitted = TorchClassifier(max_epochs=2, random_state=0).fit(
        X[:40], steps[:40], X_val=X[40:], y_val=steps[40:]
    )
    assert len(fitted.validation_scores_) == 2


@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
def test_a_pipeline_transforms_the_rows_given_to_fit(kind):
    scaler = StandardScaler().fit(X[:40] * 1e3)
    settings = {"module": MLP, "early_stopping": True, "max_epochs": 5, "random_state": 0}
    expected = kind(**settings).fit(
        scaler.transform(X[:40] * 1e3),
        CODES[:40],
        X_val=scaler.transform(X[40:] * 1e3),
        y_val=CODES[40:],
    )
    with sklearn.config_context(enable_metadata_routing=True):
        model = kind(**settings).set_fit_request(X_val=True, y_val=True)
        steps = [("scaler", StandardScaler()), ("net", model)]
        pipeline = Pipeline(steps, transform_input=["X_val"])
        pipeline.fit(X[:40] * 1e3, CODES[:40], X_val=X[40:] * 1e3, y_val=CODES[40:])
    assert pipeline[-1].validation_scores_ == expected.validation_scores_


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"X_val": X}, "X_val is given without y_val. Pass y_val"),
        ({"y_val": CODES}, "y_val given without X_val. Pass X_val"),
        ({"sample_weight_val": CODES}, "sample_weight_val given without X_val"),
        ({"X_val": X[:, :3], "y_val": CODES}, "X_val and y_val can't be used: X has 3 features"),
        ({"X_val": X, "y_val": CODES + 1}, "y_val can't be used: .*previously unseen labels.*3"),
        ({"X_val": X, "y_val": CODES[:9]}, r"inconsistent numbers of samples: \[60, 9\]"),
        (
            {"X_val": X, "y_val": CODES, "sample_weight_val": np.ones(3)},
            r"sample_weight_val can't be used: sample_weight has shape \(3,\), expected \(60,\)",
        ),
        ({"X_val": X * np.nan, "y_val": CODES}, "X_val and y_val can't be used: .*NaN"),
    ],
)
def test_wrong_rows_given_to_fit(rows, message):
    classifier = TorchClassifier(max_epochs=1)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        classifier.fit(X, CODES, **rows)
    assert not hasattr(classifier, "net_")


@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
@pytest.mark.parametrize("validation", [(X, CODES), KFold(3)])
def test_rows_to_validate_on_that_are_given_twice(kind, validation):
    with pytest.raises(ValueError, match="X_val and y_val and the parameter validation are both"):
        kind(validation=validation).fit(X, CODES, X_val=X, y_val=CODES)


# In the hands of scikit-learn


def test_cross_validation_hands_groups_on():
    model = TorchClassifier(
        validation=GroupKFold(3), early_stopping=True, max_epochs=3, random_state=0
    )
    with sklearn.config_context(enable_metadata_routing=True):
        model.set_fit_request(groups=True)
        outer = GroupKFold(3).set_split_request(groups=True)
        routed = make_pipeline(StandardScaler(), model)
        scores = cross_val_score(routed, X, CODES, cv=outer, params={"groups": GROUPS})
        by_hand = []
        for train, test in GroupKFold(3).split(X, CODES, GROUPS):
            routed.fit(X[train], CODES[train], groups=GROUPS[train])
            by_hand.append(routed.score(X[test], CODES[test]))
    assert scores.tolist() == by_hand


def test_cross_validation_with_a_splitter_inside():
    inside = TorchClassifier(validation=StratifiedKFold(3), max_epochs=30, lr=0.05, random_state=0)
    model = make_pipeline(StandardScaler(), inside)
    assert cross_val_score(model, X, CODES, cv=StratifiedKFold(3)).min() > 0.9


# Errors


class Overlapping:
    def split(self, X, y=None, groups=None):
        yield np.arange(40), np.arange(30, 60)


class Torn:
    def split(self, X, y=None, groups=None):
        yield np.arange(18), np.arange(18, 60)


class Empty:
    def split(self, X, y=None, groups=None):
        yield np.arange(60), np.arange(0)


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        ((X[:, :3], CODES), "X has 3 features, but TorchClassifier is expecting 4"),
        ((X[:, None], CODES), "X has 1 features, but TorchClassifier is expecting 4"),
        ((X, CODES + 1), r"previously unseen labels.*3"),
        ((X, CODES[:9]), r"inconsistent numbers of samples: \[60, 9\]"),
        ((X, CODES, np.ones(3)), r"sample_weight has shape \(3,\), expected \(60,\)"),
        ((X, CODES, np.zeros(60)), "at least one non-zero number"),
        ((X * np.nan, CODES), "NaN"),
        ((X[:0], CODES[:0]), r"0 sample\(s\)"),
        ((X,), r"validation must be None, a tuple \(X, y\)"),
        ([X, CODES], "validation must be None"),
        (5, "validation must be None.*got 5"),
        ("KFold", "validation must be None"),
        (Overlapping(), "40 rows to train on and 30 to validate on, 10 of them in both"),
        (Empty(), "60 rows to train on and 0 to validate on"),
        (PredefinedSplit(np.full(N_ROWS, -1)), "gave no split of the 60 rows"),
        (GroupKFold(3), "'groups' parameter should not be None"),
        (KFold(100), "number of splits n_splits=100 greater"),
        (torch.as_tensor(X), "validation must be None"),
    ],
)
def test_rows_that_can_not_be_validated_on(validation, message):
    classifier = TorchClassifier(validation=validation, max_epochs=1)
    with pytest.raises((ValueError, TypeError), match=message):
        classifier.fit(X, CODES)
    assert not hasattr(classifier, "net_")


@pytest.mark.parametrize(
    ("parameters", "groups", "message"),
    [
        ({"early_stopping": True}, GROUPS[:9], r"inconsistent numbers of samples: \[60, 9\]"),
        ({"early_stopping": True}, np.zeros(N_ROWS), "all rows are of one"),
        ({"validation": GroupKFold(3)}, GROUPS[:9], r"inconsistent numbers of samples"),
        ({"validation": Torn()}, GROUPS, r"rows of the groups \[3\] to both.*leave groups out"),
        ({"validation": GroupKFold(30)}, GROUPS, "n_splits=30 greater than the number of groups"),
    ],
)
def test_wrong_groups(parameters, groups, message):
    with pytest.raises(ValueError, match=message):
        TorchClassifier(**parameters, max_epochs=1).fit(X, CODES, groups=groups)
