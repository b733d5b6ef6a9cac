"""Learning curves: what is drawn is what was recorded, whatever trained it."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktorch import TabularClassifier, TabularRegressor, TorchClassifier, TorchRegressor
from sktorch.inspection import LearningCurveDisplay

X, y = load_iris(return_X_y=True)
draw = LearningCurveDisplay.from_estimator


def classifier(**parameters):
    return TorchClassifier(**{"max_epochs": 5, "lr": 0.01, "random_state": 0} | parameters)


stopping = classifier(early_stopping=True, max_epochs=30).fit(X, y)
plain = classifier().fit(X, y)


def drawn(display, fit=0):
    return {name: line.get_xydata() for name, line in display.lines_[fit].items()}


def expected(values):
    return np.column_stack([np.arange(1, len(values) + 1), values])


def test_losses_and_scores_are_those_of_the_history():
    display = draw(stopping)
    found = drawn(display)
    assert [*found] == ["train_loss", "valid_loss", "valid_acc"]
    np.testing.assert_array_equal(found["train_loss"], expected(stopping.loss_curve_))
    np.testing.assert_array_equal(found["valid_acc"], expected(stopping.validation_scores_))
    assert [*display.axes_] == ["loss", "score"]
    assert display.axes_["loss"].get_ylabel() == "loss"
    assert display.axes_["score"].get_ylabel() == "validation accuracy"
    assert {ax.get_xlabel() for ax in display.axes_.values()} == {"epoch"}
    assert display.figure_ is display.axes_["score"].figure


def test_the_best_epoch_is_marked_where_early_stopping_chose_one():
    display = draw(stopping)
    assert [line.get_xdata() for line in display.best_lines_] == [[stopping.best_epoch_] * 2] * 2
    texts = [text.get_text() for text in display.axes_["loss"].get_legend().get_texts()]
    assert texts == ["training loss", "validation loss", f"best epoch: {stopping.best_epoch_}"]
    assert draw(plain).best_lines_ == []


def test_without_validation_the_training_loss_alone():
    display = draw(plain)
    assert [*drawn(display)] == ["train_loss"]
    assert [*display.axes_] == ["loss"]
    assert display.axes_["loss"].get_ylabel() == "training loss"
    assert display.axes_["loss"].get_legend() is None


def test_the_learning_rate_of_a_schedule():
    fitted = classifier(lr_schedule="cosine").fit(X, y)
    display = draw(fitted)
    assert [*display.axes_] == ["loss", "lr"]
    np.testing.assert_array_equal(drawn(display)["lr"], expected(fitted.history_[:, "lr"]))
    assert display.axes_["lr"].get_ylabel() == "learning rate"


def test_scores_beside_the_own_one():
    display = draw(
        classifier(
            validation=(X, y), scoring=["valid_neg_log_loss", "train_balanced_accuracy"]
        ).fit(X, y)
    )
    scores = {name for name, line in display.lines_[0].items() if line.axes.get_ylabel() == "score"}
    assert scores == {"valid_acc", "valid_neg_log_loss", "train_balanced_accuracy"}


def test_further_numbers_of_callbacks_are_not_drawn():
    assert not {"dur", "epoch", "train_batch_count"} & drawn(draw(stopping)).keys()


def _search(**parameters):
    return GridSearchCV(classifier(), {"lr": [0.01]}, cv=2, **parameters)


AROUND = {
    "pipeline": lambda: make_pipeline(StandardScaler(), classifier()),
    "search": _search,
    "search over a pipeline": lambda: GridSearchCV(
        make_pipeline(StandardScaler(), classifier()), {"standardscaler__with_mean": [True]}, cv=2
    ),
}


@pytest.mark.parametrize("make", AROUND.values(), ids=AROUND)
def test_estimators_around_a_net(make):
    assert len(drawn(draw(make().fit(X, y)))["train_loss"]) == 5


def test_a_regressor_in_another():
    numbers, target = load_diabetes(return_X_y=True)
    net = TorchRegressor(max_epochs=3, validation=(numbers, target), random_state=0)
    fitted = TransformedTargetRegressor(net, transformer=StandardScaler()).fit(numbers, target)
    assert draw(fitted).axes_["score"].get_ylabel() == "validation R²"


@pytest.mark.parametrize("kind", [TabularClassifier, TabularRegressor])
def test_estimators_for_tables(kind):
    fitted = kind(n_members=2, max_epochs=4, random_state=0).fit(X, y)
    found = drawn(draw(fitted))
    assert [*found] == ["train_loss", "valid_risk", "lr"]
    risks = [row["valid_risk"] for row in fitted.history_]
    np.testing.assert_array_equal(found["valid_risk"], expected(risks))


def test_epochs_of_several_calls():
    fitted = classifier(validation=(X, y), warm_start=True).fit(X, y).fit(X, y).partial_fit(X, y)
    found = drawn(draw(fitted))
    assert len(found["train_loss"]) == 11
    assert np.isfinite(found["train_loss"]).all()
    assert np.isnan(found["valid_loss"][:, 1]).tolist() == [False] * 10 + [True]


def test_a_training_that_goes_on_from_a_file(tmp_path):
    path = tmp_path / "net.ckpt"
    classifier(checkpoint=path).fit(X, y)
    fitted = classifier(checkpoint=path, max_epochs=8).fit(X, y)
    np.testing.assert_array_equal(drawn(draw(fitted))["train_loss"], expected(fitted.loss_curve_))
    assert fitted.n_epochs_ == 8


def test_a_single_epoch_is_a_dot():
    (line,) = draw(classifier(max_epochs=1).fit(X, y)).lines_[0].values()
    assert line.get_marker() == "."


@pytest.mark.parametrize(
    ("fits", "names"),
    [({"a": stopping, "b": plain}, ["a", "b"]), ([stopping, plain], ["fit 1", "fit 2"])],
)
def test_several_fits_have_a_colour_each(fits, names):
    display = draw(fits)
    texts = [text.get_text() for text in display.axes_["loss"].get_legend().get_texts()]
    assert texts == names
    colors = [{line.get_color() for line in lines.values()} for lines in display.lines_]
    assert [len(found) for found in colors] == [1, 1]
    assert colors[0] != colors[1]
    assert display.lines_[0]["train_loss"].get_linestyle() == "--"
    assert display.axes_["loss"].get_ylabel() == "loss (training dashed)"
    np.testing.assert_array_equal(drawn(display, 1)["train_loss"], expected(plain.loss_curve_))


def test_one_display_over_another():
    first = draw(stopping, name="first")
    second = draw(plain, name="second", ax=first.axes_)
    assert second.figure_ is first.figure_
    texts = [text.get_text() for text in first.axes_["loss"].get_legend().get_texts()]
    assert texts == ["first", "second"]
    assert second.lines_[0]["train_loss"].get_color() != first.lines_[0]["valid_loss"].get_color()
    assert first.axes_["score"].get_ylabel() == "validation accuracy"


def test_axes_given():
    _, ax = plt.subplots()
    display = draw(stopping, ax=ax, line_kw={"linewidth": 3})
    assert display.axes_ == {"loss": ax}
    assert [*drawn(display)] == ["train_loss", "valid_loss"]
    assert {line.get_linewidth() for line in display.lines_[0].values()} == {3}
    figure, axes = plt.subplot_mosaic([["score"]])
    assert [*drawn(draw(stopping, ax=axes))] == ["valid_acc"]
    assert draw(stopping, ax=axes).figure_ is figure


def test_an_array_of_axes():
    _, axes = plt.subplots(1, 3)
    display = draw(stopping, ax=axes)
    assert [*display.axes_.items()] == [("loss", axes[0]), ("score", axes[1])]


def test_a_display_of_arrays():
    display = LearningCurveDisplay(histories=[{"train_loss": np.array([2.0, 1.0])}])
    assert display.plot() is display
    np.testing.assert_array_equal(drawn(display)["train_loss"], [[1, 2], [2, 1]])


WRONG = {
    "not fitted": (classifier, {}, NotFittedError, "not fitted"),
    "pipeline not fitted": (AROUND["pipeline"], {}, NotFittedError, "not fitted"),
    "no epochs": (lambda: classifier(max_epochs=0).fit(X, y), {}, ValueError, "max_epochs=0"),
    "without a history": (
        lambda: LogisticRegression(max_iter=500).fit(X, y),
        {},
        TypeError,
        "LogisticRegression has no history of epochs",
    ),
    "without refit": (lambda: _search(refit=False).fit(X, y), {}, TypeError, "refit=True"),
    "a class": (lambda: TorchClassifier, {}, TypeError, "class"),
    "no estimator": (lambda: 3, {}, TypeError, "estimator instance"),
    "no axes": (lambda: plain, {"ax": {}}, ValueError, "expected some of"),
    "unknown axes": (lambda: plain, {"ax": {"left": None}}, ValueError, "'left'.*'loss', 'score'"),
}


@pytest.mark.parametrize(("make", "given", "error", "match"), WRONG.values(), ids=WRONG)
def test_wrong_inputs(make, given, error, match):
    with pytest.raises(error, match=match):
        draw(make(), **given)


def test_nothing_to_draw():
    with pytest.raises(ValueError, match="no losses"):
        LearningCurveDisplay(histories=[{}]).plot()


def test_without_matplotlib_an_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'sktorch\[plot\]'"):
        draw(plain)


def test_models_of_an_ensemble_are_drawn_over_each_other():
    bagging = BaggingClassifier(TorchClassifier(max_epochs=2), n_estimators=3, random_state=0).fit(
        X, y
    )
    with pytest.raises(TypeError, match="holds several fitted models"):
        LearningCurveDisplay.from_estimator(bagging)
    assert len(LearningCurveDisplay.from_estimator(bagging.estimators_).lines_) == 3
