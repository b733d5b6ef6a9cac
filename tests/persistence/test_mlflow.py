"""MLflow keeps estimators by its defaults, as skops archives."""

import importlib

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.persistence.test_estimators import X, y
from tests.test_persistence import Dropping, net

# MLflow warns of its own type hints, and its database needs more than its skinny package has.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    # Its requirements would be inferred in another process, which takes it ten seconds.
    monkeypatch.setenv("MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT", "0")
    mlflow = importlib.import_module("mlflow")
    importlib.import_module("mlflow.sklearn")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    with mlflow.start_run():
        yield mlflow


MODELS = {
    "alone": (lambda: net(), {}),
    "pipeline": (lambda: make_pipeline(StandardScaler(), net()), {}),
    "own module": (
        lambda: net(Dropping),
        {"skops_trusted_types": ["tests.test_persistence.Dropping"]},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_logged_model_predicts_the_same(name, mlflow):
    make, options = MODELS[name]
    fitted = make().fit(X, y)
    uri = mlflow.sklearn.log_model(fitted, pip_requirements=["sktorch"], **options).model_uri
    np.testing.assert_array_equal(mlflow.pyfunc.load_model(uri).predict(X), fitted.predict(X))
    loaded = mlflow.sklearn.load_model(uri)
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))


def test_a_module_that_nobody_trusts_is_told(mlflow):
    fitted = net(Dropping).fit(X, y)
    with pytest.raises(mlflow.exceptions.MlflowException, match=r"untrusted types.*Dropping"):
        mlflow.sklearn.log_model(fitted)
