"""What both estimators do with tables of every kind, with seeds, and inside scikit-learn."""

import random
from textwrap import dedent

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from tests.tabular.samples import as_polars, classifier, frame, frames, numbers, regressor
from tests.test_persistence import run_in_fresh_process

X, labels, y = numbers()
MAKERS = [pytest.param(classifier, labels, id="labels"), pytest.param(regressor, y, id="numbers")]


def states(estimator):
    return [*map(torch.Tensor.tolist, estimator.module_.state_dict().values())]


@pytest.mark.parametrize(("make", "target"), MAKERS)
def test_a_random_state_gives_the_same_bits_whatever_was_drawn_before(make, target):
    first = make().fit(X, target)
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    second = make().fit(X, target)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2]
    assert states(first) == states(second)
    np.testing.assert_array_equal(first.predict(X), second.predict(X))
    assert first.validation_score_ == second.validation_score_
    assert states(first) != states(make(random_state=1).fit(X, target))


def test_a_generator_and_none_draw_other_seeds():
    generator = np.random.RandomState(0)
    first, second = (classifier(random_state=generator).fit(X, labels) for _ in range(2))
    again = classifier(random_state=np.random.RandomState(0)).fit(X, labels)
    assert states(first) == states(again) != states(second)
    first, second = (classifier(random_state=None).fit(X, labels) for _ in range(2))
    assert states(first) != states(second)


def test_another_process_has_the_same_bits(tmp_path):
    code = """
    import sys
    import numpy as np, torch
    from tests.tabular.samples import classifier, numbers
    torch.set_num_threads(1)
    X, labels, _ = numbers()
    np.save(sys.argv[1], classifier().fit(X, labels).predict_proba(X))
    """
    run_in_fresh_process(dedent(code), str(tmp_path / "p.npy"))
    expected = classifier().fit(X, labels).predict_proba(X)
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), expected)


@pytest.mark.parametrize(("make", "target"), MAKERS)
def test_searches_pipelines_and_copies(make, target):
    pipeline = make_pipeline(FunctionTransformer(), make())
    scores = cross_val_score(pipeline, X, target, cv=3, n_jobs=2)
    np.testing.assert_array_equal(scores, cross_val_score(clone(make()), X, target, cv=3))
    search = GridSearchCV(make(), {"lr": [0.001, 0.02], "hidden": [(8,), (4, 4)]}, cv=2)
    assert search.fit(X, target).best_params_.keys() == {"lr", "hidden"}
    assert search.best_estimator_.lr == search.best_params_["lr"]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize(("make", "target"), MAKERS)
def test_the_sktorch_backend_gives_the_same_scores(make, target):
    alone = cross_val_score(make(), X, target, cv=3)
    with joblib.parallel_config("sktorch"):
        together = cross_val_score(make(), X, target, cv=3)
    np.testing.assert_array_equal(together, alone)


TARGETS = {"labels": (classifier, np.arange(60) % 2), "numbers": (regressor, np.arange(60) % 11)}


@pytest.mark.parametrize(("make", "target"), TARGETS.values(), ids=TARGETS.keys())
def test_frames_of_both_libraries_give_the_same_net(make, target):
    fitted = {name: make().fit(table, target) for name, table in frames().items()}
    predicted = {name: fitted[name].predict(table) for name, table in frames().items()}
    np.testing.assert_array_equal(predicted["pandas"], predicted["polars"])
    for estimator in fitted.values():
        assert estimator.feature_names_in_.tolist() == [*frame().columns]
        assert estimator.n_features_in_ == 6
        assert "city" in str(estimator.cleaner_.report())


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_what_was_not_seen_in_training_is_predicted(name):
    table = frames()[name]
    fitted = classifier().fit(table, np.arange(60) % 2)
    new = (
        frame()[:3]
        .astype({"kind": object})
        .assign(
            number=[np.inf, -1e300, np.nan],
            written=["seven", None, "1e3"],
            city=["Atlantis", "", "Oslo"],
            kind=["z", "a", None],
            day=pd.to_datetime(["1950-01-01", None, "2100-01-01"]),
        )
    )
    new = new if name == "pandas" else as_polars(new)
    with pytest.warns(UserWarning, match="'written' held a number in each row that fit saw"):
        p = fitted.predict_proba(new)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (p > 0).all()


CHANGED = {
    "missing": (lambda X: X.drop(columns="city"), "city"),
    "renamed": (lambda X: X.rename(columns={"city": "town"}), "town"),
    "another order": (lambda X: X[X.columns[::-1]], "order"),
    "one more": (lambda X: X.assign(more=1), "more"),
}


@pytest.mark.parametrize(("change", "said"), CHANGED.values(), ids=CHANGED.keys())
def test_other_columns_are_refused(change, said):
    fitted = classifier().fit(frame(), np.arange(60) % 2)
    with pytest.raises(ValueError, match=said):
        fitted.predict(change(frame()))


def with_cell(value):
    table = X.copy()
    table[0, 0] = value
    return table


TABLES = {
    "one column": X[:, :1],
    "wide": np.random.default_rng(0).standard_normal((90, 300)),
    "a constant column": np.column_stack([X, np.full(90, 7.0)]),
    "a column without values": np.column_stack([X, np.full(90, np.nan)]),
    "infinity": with_cell(np.inf),
    "minus infinity": with_cell(-np.inf),
    "the largest numbers": X * 1e300,
    "the smallest numbers": X * 1e-300,
    "a large offset": X + 1e9,
    "booleans": X > 0,
    "integers": np.rint(10 * X).astype(np.int64),
    "texts": np.where(X > 0, "high", "low"),
    "lists": X.tolist(),
    "float16": X.astype(np.float16),
    "many categories": pd.DataFrame({"code": [f"c{i % 70}" for i in range(90)], "x": X[:, 0]}),
    "rows in Fortran's order": np.asfortranarray(X),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
@pytest.mark.parametrize(("make", "target"), MAKERS)
def test_tables_of_every_kind(make, target, table):
    fitted = make().fit(table, target)
    predicted = fitted.predict(table)
    assert predicted.shape == (90,)
    assert np.isfinite(fitted.validation_score_)
    if make is classifier:
        np.testing.assert_allclose(fitted.predict_proba(table).sum(axis=1), 1)
    else:
        assert np.isfinite(predicted).all()


def test_300_categories_are_embedded():
    rows = np.arange(1800)
    table = pd.DataFrame({"code": (rows % 300).astype(str)}).astype("category")
    target = rows % 300 < 150
    fitted = classifier(max_epochs=30).fit(table, target)
    assert fitted.cleaner_.cardinalities_ == (301,)
    assert fitted.score(table, target) > 0.8
    unknown = pd.DataFrame({"code": pd.Categorical(["new", None])})
    assert fitted.predict_proba(unknown).shape == (2, 2)


def test_categorical_features_are_categories_whatever_they_hold():
    codes = np.random.default_rng(0).permutation(90).reshape(-1, 1) % 9
    target = np.isin(codes[:, 0], [0, 3, 4, 8])
    fitted = classifier(categorical_features=[0], max_epochs=40, lr=0.03).fit(codes, target)
    assert fitted.score(codes, target) == 1


def test_all_columns_constant_is_an_error():
    with pytest.raises(ValueError, match="Every column of X is constant"):
        classifier().fit(np.ones((90, 2)), labels)


@pytest.mark.parametrize(("make", "target"), MAKERS)
def test_two_rows_are_enough(make, target):
    fitted = make(max_epochs=50, n_members=8).fit(
        [[0.0], [1.0]], sorted(target)[:: len(target) - 1]
    )
    assert fitted.predict([[0.0], [1.0]]).tolist() == sorted(fitted.predict([[0.0], [1.0]]))
    assert np.isfinite(fitted.validation_score_)


@pytest.mark.parametrize(("make", "target"), MAKERS)
def test_a_row_is_predicted_the_same_beside_any_others(make, target):
    fitted = make().fit(X, target)
    together = fitted.predict(X)
    alone = np.concatenate([fitted.predict(X[[row]]) for row in range(9)])
    if make is classifier:
        np.testing.assert_array_equal(together[:9], alone)
    else:
        np.testing.assert_allclose(together[:9], alone, rtol=1e-12)


@pytest.mark.parametrize(("make", "target"), MAKERS)
@pytest.mark.parametrize("name", ["array", "pandas", "polars"])
def test_rows_of_weight_zero_are_absent(make, target, name):
    weights = np.random.default_rng(0).integers(0, 2, 90).astype(float)
    kept = weights > 0
    table = {"array": np.asarray, "pandas": pd.DataFrame, "polars": pl.DataFrame}[name](X)
    rows = table.filter(kept) if name == "polars" else table[kept]
    weighted = make().fit(table, target, sample_weight=weights)
    absent = make().fit(rows, target[kept], sample_weight=weights[kept])
    assert states(weighted) == states(absent)


@pytest.mark.parametrize(("make", "target"), MAKERS)
def test_weights_are_repetitions(make, target):
    weights = np.ones(90, int)  # of few rows more: the waves depend on how many there are
    weights[[3, 14, 15]] = [2, 3, 2]
    weighted = make(batch_size=1000).fit(X, target, sample_weight=weights)
    repeated = make(batch_size=1000).fit(X.repeat(weights, axis=0), target.repeat(weights))
    if make is classifier:
        ours, theirs = weighted.predict_proba(X), repeated.predict_proba(X)
    else:
        ours, theirs = weighted.predict(X), repeated.predict(X)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert weighted.validation_score_ == pytest.approx(repeated.validation_score_)


def test_batches_and_epochs_by_themselves_are_counted_from_the_rows():
    for n_rows, max_epochs, n_epochs in [(20, "auto", 200), (90, 7, 7)]:
        fitted = classifier(max_epochs=max_epochs, hidden=(2,)).fit(X[:n_rows], labels[:n_rows])
        assert fitted.n_epochs_ == len(fitted.history_) == n_epochs


def test_a_line_for_each_epoch_is_printed_if_wanted(capsys):
    classifier().fit(X, labels)
    assert capsys.readouterr().out == ""
    classifier(verbose=1).fit(X, labels)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["epoch", str(n)] for n in range(1, 6)]
    assert all("train_loss" in line and "valid_risk" in line for line in lines)


def test_a_time_limit_ends_the_fit():
    fitted = classifier(time_limit=0.2, max_epochs=10**6).fit(X, labels)
    assert fitted.n_epochs_ < 10**6
    assert fitted.history_[-1]["lr"] <= fitted.history_[0]["lr"]
