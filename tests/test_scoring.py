"""Scores of every epoch: those that scikit-learn's scorers give the fitted model afterwards."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.metrics import get_scorer, make_scorer, mean_pinball_loss, precision_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EarlyStopping

from sktorch import TorchClassifier, TorchRegressor

SETTINGS = {"max_epochs": 3, "lr": 0.01, "random_state": 0, "device": "cpu"}


def classifier(**parameters):
    return TorchClassifier(**(SETTINGS | parameters))


def regressor(**parameters):
    return TorchRegressor(**(SETTINGS | parameters))


def multiclass(scaled):
    return scaled("wine")


def binary(scaled):
    return scaled("breast_cancer")


def names(scaled):
    X, y = scaled("breast_cancer")
    return X, np.array(["malignant", "benign"])[y]


def indicators(scaled):
    X, y = scaled("digits")
    X, y = X[:400], y[:400]
    return X, np.column_stack([y % 2 == 0, y % 3 == 0, y > 4]).astype(int)


def columns(scaled):
    X, y = scaled("digits")
    return X[:400], np.column_stack([np.array(["even", "odd"])[y % 2], (y % 3).astype(str)])[:400]


def numbers(scaled):
    X, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def several_numbers(scaled):
    X, y = numbers(scaled)
    return X, np.column_stack([y, y**2])


CASES = {
    multiclass: [
        "accuracy",
        "balanced_accuracy",
        "f1_macro",
        "f1_weighted",
        "jaccard_macro",
        "matthews_corrcoef",
        "neg_log_loss",
        "neg_brier_score",
        "recall_macro",
        "roc_auc_ovo",
        "roc_auc_ovr",
        "roc_auc_ovr_weighted",
        "top_k_accuracy",
    ],
    binary: [
        "accuracy",
        "average_precision",
        "f1",
        "neg_brier_score",
        "neg_log_loss",
        "precision",
        "recall",
        "roc_auc",
    ],
    names: ["accuracy", "roc_auc", "neg_log_loss", "f1_macro"],
    indicators: ["accuracy", "average_precision", "f1_micro", "f1_samples", "roc_auc"],
    numbers: [
        "explained_variance",
        "neg_max_error",
        "neg_mean_absolute_error",
        "neg_mean_absolute_percentage_error",
        "neg_mean_squared_error",
        "neg_root_mean_squared_error",
        "r2",
    ],
    several_numbers: ["r2", "neg_mean_absolute_error", "explained_variance"],
}
# Metrics that take no weights: one has no such argument, the other refuses its values.
WITHOUT_WEIGHTS = {"neg_max_error", "roc_auc_ovo"}


def estimator_for(load, **parameters):
    make = regressor if load in (numbers, several_numbers) else classifier
    return make(**parameters)


def by_hand(name, fitted, X, y, weight):
    weights = {} if weight is None or name in WITHOUT_WEIGHTS else {"sample_weight": weight}
    return get_scorer(name)(fitted, X, y, **weights)


# scikit-learn says so of rare labels and of rows that have none; that is what is tested, too.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("load", CASES, ids=lambda load: load.__name__)
def test_the_last_epochs_scores_are_those_of_the_fitted_model(scaled, load, weighted):
    X, y = load(scaled)
    train, valid = train_test_split(np.arange(len(y)), test_size=0.4, random_state=0)
    weight = np.random.RandomState(0).randint(1, 4, len(y)).astype(float) if weighted else None
    weights = [None if weight is None else weight[rows] for rows in (train, valid)]
    scoring = [f"{part}_{name}" for part in ("train", "valid") for name in CASES[load]]
    fitted = estimator_for(
        load,
        scoring=scoring,
        validation=(X[valid], y[valid], *([] if weight is None else [weights[1]])),
    ).fit(X[train], y[train], sample_weight=weights[0])

    last = fitted.history_[-1]
    assert {name for name in last if name.startswith(("train_", "valid_"))} >= set(scoring)
    for name in CASES[load]:
        for part, rows, w in zip(("train", "valid"), (train, valid), weights, strict=True):
            expected = by_hand(name, fitted, X[rows], y[rows], w)
            assert last[f"{part}_{name}"] == pytest.approx(expected, rel=1e-5), (part, name)
            assert isinstance(last[f"{part}_{name}"], float)


def test_each_epoch_has_its_own(scaled):
    X, y = scaled("wine")
    fitted = classifier(scoring="neg_log_loss", max_epochs=4).fit(X, y)
    scores = fitted.history_[:, "train_neg_log_loss"]
    for epochs, score in enumerate(scores, start=1):
        # An evaluation draws as a DataLoader does, so that the shorter training scores, too.
        shorter = classifier(scoring="neg_log_loss", max_epochs=epochs).fit(X, y)
        assert get_scorer("neg_log_loss")(shorter, X, y) == pytest.approx(score, rel=1e-6)


def test_training_rows_are_scored_where_none_are_held_out(scaled):
    X, y = scaled("wine")
    assert "train_accuracy" in classifier(scoring="accuracy").fit(X, y).history_[-1]
    held_out = classifier(scoring="accuracy", early_stopping=True).fit(X, y).history_
    assert "valid_accuracy" in held_out[-1]
    assert "train_accuracy" not in held_out[-1]
    assert held_out[:, "valid_accuracy"] == held_out[:, "valid_acc"]


def test_partial_fit_scores_nothing(scaled):
    X, y = scaled("wine")
    fitted = classifier(scoring=["accuracy", "valid_f1"], monitor="valid_f1")
    fitted.partial_fit(X, y, classes=[0, 1, 2])
    assert {n for n in fitted.history_[-1] if n.startswith(("train_", "valid_"))} == {
        "train_loss",
        "train_loss_best",
        "train_batch_count",
    }


def rows_seen(estimator, X, y):
    return len(y)


def test_a_scorer_may_hand_on_its_x_which_is_empty(scaled):
    X, y = scaled("wine")
    heights = []

    def share_right(estimator, given, targets):
        heights.append(given.shape)
        assert estimator.predict_proba(given).shape == (len(targets), 3)
        return (estimator.predict(given) == targets).mean()

    fitted = classifier(scoring=[share_right, "accuracy"], early_stopping=True).fit(X, y)
    assert heights == [(18, 0)] * fitted.n_epochs_
    assert fitted.history_[:, "valid_share_right"] == fitted.history_[:, "valid_accuracy"]


@pytest.mark.parametrize(
    "other",
    [lambda given: given[:2], lambda given: given.copy(), lambda given: np.zeros((len(given), 13))],
    ids=["rows of it", "a copy", "another"],
)
@pytest.mark.parametrize("method", ["predict", "predict_proba", "score"])
def test_a_scorer_may_not_ask_for_other_rows(scaled, method, other):
    def of_others(estimator, given, targets):
        given = other(given)
        beside = [targets[: len(given)]] if method == "score" else []
        return np.mean(getattr(estimator, method)(given, *beside))

    estimator = classifier(scoring=of_others)
    with pytest.raises(ValueError, match=r"other rows than those it was given.*scoring it may"):
        estimator.fit(*scaled("wine"))
    assert not hasattr(estimator, "net_")


SCORINGS = {
    "name": ("accuracy", {"accuracy"}),
    "tuple": (("accuracy", "f1_macro"), {"accuracy", "f1_macro"}),
    "function": (rows_seen, {"rows_seen"}),
    "functions": ([rows_seen, "accuracy"], {"rows_seen", "accuracy"}),
    "scorer": (make_scorer(precision_score, average="macro", zero_division=0), {"score"}),
    "dict": ({"a": "accuracy", "rows": rows_seen}, {"a", "rows"}),
    "nothing": ([], set()),
}


@pytest.mark.parametrize("kind", SCORINGS)
def test_ways_to_say_which(scaled, kind):
    scoring, expected = SCORINGS[kind]
    X, y = scaled("wine")
    row = classifier(scoring=scoring).fit(X, y).history_[-1]
    found = {name.removeprefix("train_") for name in row if f"{name}_best" in row}
    assert found == expected | {"loss"}
    assert row.get("train_rows_seen", row.get("train_rows", len(y))) == len(y)


def test_a_dict_says_on_which_rows(scaled):
    X, y = scaled("wine")
    scoring = {"train_n": rows_seen, "valid_n": rows_seen}
    row = classifier(scoring=scoring, early_stopping=True).fit(X, y).history_[-1]
    assert (row["train_n"], row["valid_n"]) == (160, 18)


def test_scores_are_printed(scaled, capsys):
    X, y = scaled("wine")
    classifier(scoring="f1_macro", early_stopping=True, verbose=1, max_epochs=2).fit(X, y)
    printed = capsys.readouterr().out
    assert "valid_f1_macro" in printed
    assert "valid_acc" in printed
    assert len(printed.splitlines()) == 4  # names, a rule, two epochs


def test_the_monitored_score_decides_about_the_best_epoch():
    X, y = numbers(None)
    settings = {
        "scoring": ["neg_max_error", "neg_mean_absolute_error"],
        "early_stopping": True,
        "max_epochs": 30,
        "n_iter_no_change": 30,
    }
    best_epochs = []
    for monitor in ("valid_neg_max_error", "valid_neg_mean_absolute_error", "valid_loss", None):
        fitted = regressor(monitor=monitor, **settings).fit(X, y)
        name = monitor or "valid_r2"
        sign = -1 if name == "valid_loss" else 1
        values = sign * np.array(fitted.history_[:, name])
        assert fitted.best_epoch_ == values.argmax() + 1
        assert fitted.n_epochs_ == 30
        best_epochs.append(fitted.best_epoch_)
        # The weights are those of the best epoch, not of the last.
        _, valid = train_test_split(np.arange(len(y)), test_size=0.1, random_state=0)
        if monitor and monitor != "valid_loss":
            score = get_scorer(monitor.removeprefix("valid_"))(fitted, X[valid], y[valid])
            assert score == pytest.approx(values.max())
    assert len(set(best_epochs)) > 1


def test_the_monitored_score_decides_when_to_stop(scaled):
    X, y = scaled("wine")
    fitted = classifier(
        scoring="accuracy", monitor="train_accuracy", max_epochs=100, n_iter_no_change=3, lr=0.02
    ).fit(X, y)
    scores = fitted.history_[:, "train_accuracy"]
    assert fitted.n_epochs_ < 100
    assert max(scores[:-3]) == max(scores)


def test_plateau_looks_at_the_monitored_score(scaled):
    X, y = scaled("wine")
    fitted = classifier(
        scoring={"worse": lambda estimator, X, y: -len(estimator.net_.history)},
        monitor="train_worse",
        lr_schedule="plateau",
        lr_schedule__patience=0,
        lr_schedule__factor=0.5,
        max_epochs=4,
    ).fit(X, y)
    assert fitted.history_[:, "lr"] == [0.01, 0.01, 0.005, 0.0025]


def test_skorchs_callbacks_see_the_scores(scaled):
    X, y = scaled("wine")
    stop = EarlyStopping("train_f1_macro", patience=2, lower_is_better=False)
    fitted = classifier(scoring="f1_macro", callbacks=[stop], max_epochs=100, lr=0.02).fit(X, y)
    scores = fitted.history_[:, "train_f1_macro"]
    assert fitted.n_epochs_ < 100
    assert max(scores[:-2]) == max(scores)
    assert fitted.history_[-1, "train_f1_macro_best"] is False


def test_a_quantile_by_its_own_metric():
    X, y = numbers(None)
    pinball = make_scorer(mean_pinball_loss, alpha=0.9, greater_is_better=False)
    fitted = regressor(
        criterion="quantile",
        criterion__quantile=0.9,
        scoring={"pinball": pinball},
        monitor="valid_pinball",
        early_stopping=True,
    ).fit(X, y)
    # The loss itself, in the scale of y.
    losses, scores = (fitted.history_[:, name] for name in ("valid_loss", "valid_pinball"))
    np.testing.assert_allclose(np.multiply(losses, fitted.codec_.scale), -np.array(scores), 1e-6)


def broken(estimator, X, y):
    raise ZeroDivisionError("a metric of one's own")


def mistyped(estimator, X, y, sample_weight=None):
    return "three" + 4


def without_weights(estimator, X, y):
    return estimator.score(X, y)


def test_errors_of_own_scorers_are_not_taken_for_missing_weights(scaled):
    X, y = scaled("wine")
    for weights in (None, np.ones(len(y))):
        with pytest.raises(TypeError, match="can only concatenate str"):
            classifier(scoring=mistyped).fit(X, y, sample_weight=weights)
    fitted = classifier(scoring=without_weights).fit(X, y, sample_weight=1 + y)
    assert fitted.history_[-1, "train_without_weights"] == fitted.score(X, y)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"scoring": "acuracy"}, ValueError, "'acuracy' is not a valid scoring value"),
        ({"scoring": "train_acuracy"}, ValueError, "'acuracy' is not a valid scoring value"),
        ({"scoring": 3}, ValueError, "scoring must be None, a scorer"),
        ({"scoring": {"a": 3}}, ValueError, "scoring holds 'a': 3; expected functions"),
        ({"scoring": {"loss": rows_seen}}, ValueError, "under other names than 'loss'"),
        ({"scoring": [rows_seen, rows_seen]}, ValueError, "holds 'rows_seen' twice"),
        ({"scoring": "valid_f1"}, ValueError, "none are held out.*'train_f1'"),
        ({"scoring": broken}, ValueError, "a metric of one's own"),
        ({"scoring": "r2", "criterion": "multi_margin"}, ValueError, "r2|convert"),
        (
            {"scoring": "neg_log_loss", "criterion": "multi_margin"},
            ValueError,
            "predict_proba",
        ),
        ({"monitor": "valid_loss"}, ValueError, r"'valid_loss' is not recorded.*\['train_loss'\]"),
        ({"monitor": "accuracy"}, ValueError, "is not recorded.*add it to scoring"),
        (
            {"monitor": "valid_f1", "early_stopping": True},
            ValueError,
            r"expected one of \['train_loss', 'valid_loss', 'valid_acc'\]",
        ),
        ({"monitor": 3}, ValueError, "monitor must be None or a name"),
    ],
)
def test_what_can_not_be_scored(scaled, parameters, error, message):
    X, y = names(scaled)
    estimator = classifier(**parameters)
    with pytest.raises(error, match=message):
        estimator.fit(X, y)
    assert not hasattr(estimator, "net_")


def test_r2_of_several_quantiles_is_refused():
    X, y = numbers(None)
    several = regressor(criterion="quantile", criterion__quantile=[0.1, 0.9], scoring="r2")
    with pytest.raises(ValueError, match="different number of output"):
        several.fit(X, y)


BAD_TARGETS = {
    "NaN": lambda y: np.where(np.arange(len(y)) == 3, np.nan, y),
    "None": lambda y: np.where(np.arange(len(y)) == 3, None, y),
    "a row too few": lambda y: y[1:],
    "complex": lambda y: y * 1j,
    "scalar": lambda y: 1,
    "dict": lambda y: {"y": y},
}


@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
@pytest.mark.parametrize("name", BAD_TARGETS)
def test_targets_that_can_not_be_scored_are_named(name, kind):
    X, y = np.random.default_rng(0).random((20, 3)), np.arange(20) % 2
    fitted = kind(max_epochs=1).fit(X, y)
    with pytest.raises((ValueError, TypeError), match=r"\by\b"):
        fitted.score(X, BAD_TARGETS[name](y))
