"""HTML of estimators: links, tooltips, and what a fit has left, whatever it is."""

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr
from torch import nn

import sktorch
from sktorch import TabularClassifier, TorchClassifier, TorchRegressor
from sktorch._private.notebooks import DOCUMENTATION
from sktorch.inspection._html import MAX_POINTS, curves_svg
from sktorch.model_selection import FoldEnsembleClassifier, HalvingSearchCV
from sktorch.preprocessing import TableCleaner

ROOT = Path(sktorch.__file__).parents[1]
X, y = load_iris(return_X_y=True)
net = TorchClassifier(max_epochs=3, early_stopping=True, random_state=0).fit(X, y)


@pytest.mark.parametrize(
    ("estimator", "page"),
    [
        (TorchClassifier(), "sktorch.TorchClassifier"),
        (TorchRegressor(), "sktorch.TorchRegressor"),
        (TabularClassifier(), "sktorch.TabularClassifier"),
        (TableCleaner(), "sktorch.preprocessing.TableCleaner"),
        (HalvingSearchCV(net, {}), "sktorch.model_selection.HalvingSearchCV"),
        (FoldEnsembleClassifier(net), "sktorch.model_selection.FoldEnsembleClassifier"),
    ],
)
def test_links_lead_to_the_pages_of_the_reference(estimator, page):
    assert f'href="{DOCUMENTATION}generated/{page}.html"' in estimator_html_repr(estimator)
    assert f"   {page}\n" in (ROOT / "docs" / "api.rst").read_text("utf-8")
    assert ":toctree: generated/" in (ROOT / "docs" / "api.rst").read_text("utf-8")


def test_the_address_is_that_of_the_package():
    found = re.findall(r"^ +Documentation = (.*)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    assert set(found) <= {DOCUMENTATION}


def test_a_class_of_the_user_has_no_page():
    class Own(TorchClassifier):
        """A class of the user."""

    assert DOCUMENTATION not in estimator_html_repr(Own())


def tooltips(estimator):
    """Return the tooltips of parameters by their names."""
    found = re.findall(
        r'<span class="param-doc-description"\s+style="position-anchor: --doc-link-(\w+);">'
        r"\s*(.*?)</span>",
        estimator_html_repr(estimator),
        re.DOTALL,
    )
    return dict(found)


def test_every_parameter_has_a_tooltip():
    estimator = TorchClassifier(module__hidden=(5,), optimizer__weight_decay=0.1)
    assert tooltips(estimator).keys() == estimator.get_params().keys()
    assert "Learning rate, above zero." in tooltips(estimator)["lr"]


@pytest.mark.parametrize(
    ("given", "name", "owner"),
    [
        ({"module__hidden": (5,)}, "module__hidden", "StandardizedMLP"),
        ({"optimizer": "sgd", "optimizer__momentum": 0.9}, "optimizer__momentum", "sgd"),
        ({"module": nn.Linear, "module__bias": False}, "module__bias", "Linear"),
        ({"iterator_train__num_workers": 0}, "iterator_train__num_workers", "iterator_train"),
    ],
)
def test_parameters_of_components_name_their_component(given, name, owner):
    text = tooltips(TorchClassifier(**given))[name]
    assert f"``{name.partition('__')[2]}`` of ``{owner}``" in text


def test_a_fitted_net_shows_its_module_and_its_losses():
    html = estimator_html_repr(net)
    assert "<summary>Module</summary>" in html
    assert "multiply-adds a row" in html
    assert html.count("<polyline") == 2
    assert "validation loss" in html
    assert "<summary>Module</summary>" not in estimator_html_repr(clone(net))


AROUND = {
    "pipeline": make_pipeline(StandardScaler(), TorchClassifier(max_epochs=1)),
    "search": GridSearchCV(TorchClassifier(max_epochs=1), {"lr": [0.01]}, cv=2),
    # With numpy 2.0 scikit-learn can't compare a number for max_epochs with its default, "auto".
    "table": TabularClassifier(n_members=2, hidden=(8,)),
    "untrained": TorchClassifier(max_epochs=0),
}


@pytest.mark.parametrize("estimator", AROUND.values(), ids=AROUND)
def test_estimators_around_a_net_and_others(estimator):
    assert "<summary>Module</summary>" in estimator_html_repr(estimator.fit(X, y))


def test_html_does_not_fail_whatever_is_left():
    broken = clone(net).fit(X, y)
    broken.net_.history = [{"train_loss": "?"}]
    assert "TorchClassifier" in estimator_html_repr(broken)
    del broken.net_.work_
    assert "<summary>Module</summary>" not in estimator_html_repr(broken)


def test_long_representations_are_not_made():
    class Unspeakable(nn.Module):
        def __init__(self, n_outputs):
            super().__init__()
            self.layer = nn.Linear(4, n_outputs)

        def forward(self, X):
            return self.layer(X)

        def __repr__(self):
            raise AssertionError("Too long.")

    html = estimator_html_repr(TorchClassifier(Unspeakable, max_epochs=1).fit(X, y))
    assert "Unspeakable" in html


def coordinates(svg):
    (points,) = re.findall(r'points="([^"]*)"', svg)
    return np.array([point.split(",") for point in points.split()], float)


def test_a_curve_goes_from_left_to_right_and_down_as_the_loss_does():
    points = coordinates(curves_svg({"train_loss": np.array([4.0, 2.0, 1.0])}))
    assert (np.diff(points[:, 0]) > 0).all()
    assert (np.diff(points[:, 1]) > 0).all(), "y grows downwards"
    assert np.diff(points[:, 1])[0] == pytest.approx(2 * np.diff(points[:, 1])[1], rel=0.02)


def test_curves_of_odd_values():
    assert len(coordinates(curves_svg({"train_loss": np.linspace(1, 0, 100_000)}))) == MAX_POINTS
    assert "<circle" in curves_svg({"train_loss": np.array([1.0])})
    assert np.isfinite(coordinates(curves_svg({"train_loss": np.full(3, 2.0)}))).all()
    gap = np.array([1.0, np.nan, np.inf, 0.5])
    assert len(coordinates(curves_svg({"valid_loss": gap}))) == 2
    assert "nan" not in curves_svg({"train_loss": np.full(3, np.nan)}).lower()
