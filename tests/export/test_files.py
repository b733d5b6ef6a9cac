"""ONNX files: what onnxruntime makes of them is what the estimator predicts."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sktorch import TorchClassifier, TorchRegressor
from sktorch.export import onnx
from sktorch.modules import ConvNet, RecurrentNet

X, species = load_iris(return_X_y=True)
X = X.astype("float32")
RECIPE = {"max_epochs": 3, "random_state": 0}


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.embedding = nn.Linear(4, 3), nn.Embedding(3, 3)

    def forward(self, numbers, codes):
        return self.linear(numbers) + self.embedding(codes)


class ReadsValues(nn.Linear):
    def __init__(self, n_features, n_outputs):
        super().__init__(n_features, n_outputs)

    def forward(self, X):
        return super().forward(X) * (2 if X.sum().item() > 0 else 1)


def written(estimator, path, **options):
    """Return onnxruntime's session of an estimator that was written."""
    onnx(estimator, path, **options)
    return onnxruntime.InferenceSession(path)


def check(session, inputs, expected, atol=1e-6):
    """Predictions agree for any number of rows."""
    for n_rows in 1, 2, len(expected[0]):
        outputs = session.run(None, {name: x[:n_rows] for name, x in inputs.items()})
        for mine, theirs in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(mine, theirs[:n_rows], rtol=1e-5, atol=atol)


@pytest.mark.parametrize(
    "y", [species, np.array(["a", "b", "c"])[species], species > 0], ids=["int", "str", "bool"]
)
def test_a_classifier(tmp_path, y):
    classifier = TorchClassifier(**RECIPE).fit(X, y)
    session = written(classifier, tmp_path / "net.onnx")
    check(session, {"X": X}, [classifier.predict_proba(X)])
    assert [output.name for output in session.get_outputs()] == ["probabilities"]
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == np.unique(y).tolist()
    assert metadata["estimator"] == "TorchClassifier"


def test_columns_of_labels(tmp_path):
    classifier = TorchClassifier(**RECIPE).fit(X, np.c_[species, species > 1])
    session = written(classifier, tmp_path / "net.onnx")
    check(session, {"X": X}, classifier.predict_proba(X))
    names = [output.name for output in session.get_outputs()]
    assert names == ["probabilities_0", "probabilities_1"]
    classes = session.get_modelmeta().custom_metadata_map["classes"]
    assert json.loads(classes) == [[0, 1, 2], [0, 1]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("criterion", ["auto", "gaussian_nll", "poisson_nll"])
def test_a_regressor(tmp_path, criterion, dtype):
    X, y = load_diabetes(return_X_y=True)
    X = X.astype(dtype)
    regressor = TorchRegressor(criterion=criterion, **RECIPE).fit(X, y)
    session = written(regressor, tmp_path / "net.onnx")
    check(session, {"X": X}, [regressor.predict(X)])
    assert [output.name for output in session.get_outputs()] == ["prediction"]


def test_images(tmp_path, digits_images):
    images, y = (part[:100] for part in digits_images)
    classifier = TorchClassifier(ConvNet, **RECIPE).fit(images, y)
    check(
        written(classifier, tmp_path / "net.onnx"),
        {"X": images},
        [classifier.predict_proba(images)],
    )


@pytest.mark.parametrize("order", [("numbers", "codes"), ("codes", "numbers"), None])
def test_several_inputs(tmp_path, order):
    inputs = {"numbers": X, "codes": species}
    given = (X, species) if order is None else {name: inputs[name] for name in order}
    classifier = TorchClassifier(TwoInputs, **RECIPE).fit(given, species)
    session = written(classifier, tmp_path / "net.onnx")
    check(session, inputs, [classifier.predict_proba(given)])


def test_large_logits_stay_finite(tmp_path):
    classifier = TorchClassifier(criterion="bce_with_logits", **RECIPE).fit(X, species)
    far = -1e4 * np.abs(X)
    session = written(classifier, tmp_path / "net.onnx")
    check(session, {"X": far}, [classifier.predict_proba(far)])


def test_another_opset(tmp_path):
    session = written(TorchClassifier(**RECIPE).fit(X, species), tmp_path / "net.onnx", opset=20)
    assert session.run(None, {"X": X})[0].shape == (150, 3)


def test_a_net_of_sparse_rows_takes_dense_ones(tmp_path):
    from scipy import sparse

    classifier = TorchClassifier(**RECIPE).fit(sparse.csr_matrix(X), species)
    session = written(classifier, tmp_path / "net.onnx")
    check(session, {"X": X}, [classifier.predict_proba(X)])


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: TorchClassifier(), NotFittedError, "not fitted"),
        (lambda: make_pipeline(StandardScaler()), TypeError, "register_converters"),
        (lambda: nn.Linear(4, 3), TypeError, "is a Linear"),
        (
            lambda: TorchClassifier(ReadsValues, **RECIPE).fit(X, species),
            ValueError,
            "can't be written as ONNX.*forward",
        ),
        (
            lambda: TorchClassifier(RecurrentNet, **RECIPE).fit(
                [X[: 3 + i % 2] for i in range(20)], np.arange(20) % 2
            ),
            ValueError,
            "differing lengths.*to_module",
        ),
    ],
    ids=["unfitted", "pipeline", "module", "reads values", "ragged"],
)
def test_wrong_estimators_are_told_and_nothing_is_written(tmp_path, make, error, says):
    with pytest.raises(error, match=f"(?s){says}"):
        onnx(make(), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    classifier = TorchClassifier(**RECIPE).fit(X, species)
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"onnxscript.*sktorch\[export\]"):
        onnx(classifier, tmp_path / "net.onnx")


def test_a_folder_that_is_not_there_is_told(tmp_path):
    classifier = TorchClassifier(**RECIPE).fit(X, species)
    with pytest.raises(FileNotFoundError):
        onnx(classifier, tmp_path / "absent" / "net.onnx")


def test_the_generators_stay_as_they_were(tmp_path):
    before = torch.get_rng_state()
    onnx(TorchClassifier(**RECIPE).fit(X, species), tmp_path / "net.onnx")
    assert torch.equal(torch.get_rng_state(), before)
