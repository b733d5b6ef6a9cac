"""Pipelines through sklearn-onnx: labels and probabilities are those of the pipeline."""

import subprocess
import sys

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import skl2onnx
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

from sktorch import TorchClassifier, TorchRegressor
from sktorch.export import register_converters

X, species = load_iris(return_X_y=True)
RECIPE = {"max_epochs": 3, "random_state": 0}
LABELS = {
    "integers": species,
    "strings": np.array(["a", "b", "c"])[species],
    "objects": np.array(["a", "b", "c"], object)[species],
    "booleans": species > 0,
    "indicators": np.c_[species > 0, species > 1].astype(int),
}


@pytest.fixture(autouse=True, scope="module")
def converters():
    register_converters()


def run(model, inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, inputs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", LABELS)
def test_a_scaler_and_a_classifier(kind, dtype):
    rows = X.astype(dtype)
    pipeline = make_pipeline(StandardScaler(), TorchClassifier(**RECIPE)).fit(rows, LABELS[kind])
    model = skl2onnx.to_onnx(pipeline, rows[:1], options={"zipmap": False})
    labels, probabilities = run(model, {"X": rows})
    np.testing.assert_array_equal(labels, pipeline.predict(rows))
    assert probabilities.dtype == dtype
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(rows), atol=1e-6)


def test_one_output_for_two_classes():
    net = TorchClassifier(criterion="bce_with_logits", **RECIPE)
    pipeline = make_pipeline(StandardScaler(), net).fit(X, species > 0)
    model = skl2onnx.to_onnx(pipeline, X[:1], options={"zipmap": False})
    labels, probabilities = run(model, {"X": X})
    np.testing.assert_array_equal(labels, pipeline.predict(X))
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(X), atol=1e-6)


def test_probabilities_by_label_as_sklearn_onnx_has_them():
    net = TorchClassifier(**RECIPE).fit(X, LABELS["strings"])
    labels, probabilities = run(skl2onnx.to_onnx(net, X[:1]), {"X": X})
    np.testing.assert_array_equal(labels, net.predict(X))
    by_label = pd.DataFrame(probabilities)[net.classes_]
    np.testing.assert_allclose(by_label, net.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("n_targets", [1, 2])
def test_a_scaler_and_a_regressor(n_targets):
    X, y = load_diabetes(return_X_y=True)
    y = y if n_targets == 1 else np.c_[y, -y]
    pipeline = make_pipeline(StandardScaler(), TorchRegressor(**RECIPE)).fit(X, y)
    (predicted,) = run(skl2onnx.to_onnx(pipeline, X[:1]), {"X": X})
    assert predicted.shape == (len(X), n_targets)
    np.testing.assert_allclose(predicted, pipeline.predict(X).reshape(len(X), -1), rtol=1e-6)


def test_columns_of_several_kinds():
    table = pd.DataFrame(X.astype("float32"), columns=[*"abcd"])
    table["kind"] = np.array(["u", "v", "w"])[np.arange(len(X)) % 3]
    columns = make_column_transformer(
        (StandardScaler(), [*"abcd"]), (OneHotEncoder(sparse_output=False), ["kind"])
    )
    pipeline = make_pipeline(columns, TorchClassifier(**RECIPE)).fit(table, species)
    model = skl2onnx.to_onnx(pipeline, table[:1], options={"zipmap": False})
    inputs = {name: table[[name]].to_numpy() for name in table}
    labels, probabilities = run(model, inputs)
    np.testing.assert_array_equal(labels, pipeline.predict(table))
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(table), atol=1e-6)


def test_two_nets_in_one_graph():
    from sklearn.ensemble import VotingClassifier

    nets = [
        ("one", TorchClassifier(**RECIPE)),
        ("two", TorchClassifier(max_epochs=5, random_state=1)),
    ]
    voting = VotingClassifier(nets, voting="soft", flatten_transform=False).fit(X, species)
    model = skl2onnx.to_onnx(voting, X[:1].astype("float32"), options={"zipmap": False})
    labels, probabilities = run(model, {"X": X.astype("float32")})
    np.testing.assert_allclose(probabilities, voting.predict_proba(X), atol=1e-5)
    np.testing.assert_array_equal(labels, voting.predict(X))


class Clipped(nn.Linear):
    def __init__(self, n_features, n_outputs):
        super().__init__(n_features, n_outputs)

    def forward(self, X):
        return super().forward(X).clamp(max=5.0)


@pytest.mark.parametrize(
    ("net", "X", "y", "says"),
    [
        (nn.Conv1d(1, 2, 4), X[:, None], species > 0, r"shape \(1, 4\).*sktorch.export.onnx"),
        (None, X, species / 2 + 0.5, "integers or strings"),
        (None, X, np.c_[species, species > 1], "integers or strings"),
        (Clipped, X, species, "optional inputs.*sktorch.export.onnx"),
    ],
    ids=["images", "floats", "columns", "optional inputs"],
)
def test_what_sklearn_onnx_has_no_types_for(net, X, y, says):
    if isinstance(net, nn.Module):
        net = nn.Sequential(net, nn.Flatten())
    if np.ndim(y) == 1 and y.dtype.kind == "f":
        y = y.round()
    net = TorchClassifier(net, **RECIPE).fit(X, y)
    with pytest.raises(ValueError, match=f"(?s){says}"):
        skl2onnx.to_onnx(net, X[:1].astype("float32"), options={"zipmap": False})


def test_nothing_is_imported_or_registered_by_an_import():
    code = (
        "import sys, sktorch, sktorch.export; "
        "sys.exit(any(name in sys.modules for name in ('onnx', 'onnxscript', 'skl2onnx')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"skl2onnx.*sktorch\[export\]"):
        register_converters()
