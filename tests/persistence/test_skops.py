"""Estimators in skops archives: inside pipelines and searches, without any pickle."""

import importlib
import io
import sys
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops.io.exceptions import UntrustedTypesFoundException

from sktorch import TorchClassifier, TorchRegressor
from sktorch._skops import _WhenImported
from tests.persistence.test_estimators import X, y
from tests.test_persistence import ESTIMATORS, net, run_in_fresh_process, same_state

METHODS = {
    "alone": lambda: net(),
    "Pipeline": lambda: make_pipeline(StandardScaler(), net()),
    "GridSearchCV": lambda: GridSearchCV(net(), {"lr": [0.1, 0.01]}, cv=2),
    "Calibrated": lambda: CalibratedClassifierCV(net(), cv=2),
    "Bagging": lambda: BaggingClassifier(net(), n_estimators=2, random_state=0),
    "Voting": lambda: VotingClassifier(
        [("net", net()), ("other", LogisticRegression())], voting="soft"
    ),
    "Stacking": lambda: StackingClassifier([("net", net())], cv=2),
    "OneVsRest": lambda: OneVsRestClassifier(net()),
}


def others(names):
    """Return the names that are not of scikit-learn's own helpers, which skops wants named."""
    return [name for name in names if not name.startswith("sklearn.")]


@pytest.mark.parametrize("method", METHODS)
def test_methods_that_hold_estimators_come_back(method):
    fitted = METHODS[method]().fit(X, y)
    data = skops.io.dumps(fitted)
    names = skops.io.get_untrusted_types(data=data)
    assert not others(names)
    other = skops.io.loads(data, trusted=names)
    np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_only_the_names_of_users_need_trust(name):
    fitted = ESTIMATORS[name]().fit(X, y)
    data = skops.io.dumps(fitted)
    names = skops.io.get_untrusted_types(data=data)
    own = {"own module": "Dropping", "early stopping": "Dropping", "function": "build"}
    own |= {"loss function": "smoothed"}
    assert names == [f"tests.test_persistence.{own[name]}"] if name in own else not names
    if names:
        with pytest.raises(UntrustedTypesFoundException, match=own[name]):
            skops.io.loads(data)
    other = skops.io.loads(data, trusted=names)
    np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))
    assert same_state(other.partial_fit(X, y).module_, fitted.partial_fit(X, y).module_)


def test_an_estimator_that_is_not_fitted_and_a_regressor():
    other = skops.io.loads(skops.io.dumps(net(lr=0.5)))
    assert other.lr == 0.5
    assert not hasattr(other, "net_")
    fitted = TorchRegressor(max_epochs=2, random_state=0).fit(X, X[:, 0])
    other = skops.io.loads(skops.io.dumps(fitted))
    np.testing.assert_array_equal(other.predict(X), fitted.predict(X))


class Own(TorchClassifier):
    """A user's own kind of estimator."""


def test_a_subclass_has_its_own_name():
    fitted = Own(max_epochs=1).fit(X, y)
    data = skops.io.dumps(fitted)
    assert skops.io.get_untrusted_types(data=data) == [f"{__name__}.Own"]
    assert type(skops.io.loads(data, trusted=[Own])) is Own


PICKLE = [b"\x80\x02", b"\x80\x03", b"\x80\x04\x95", b"\x80\x05\x95", b"cnumpy", b"c__builtin__"]


@pytest.mark.parametrize("method", METHODS)
def test_no_pickle_is_in_the_archive(method):
    data = skops.io.dumps(METHODS[method]().fit(X, y))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert name == "schema.json" or name.endswith((".npy", ".npz"))
            assert not any(content.startswith(start) for start in PICKLE)
            if name.endswith(".npy"):
                np.load(io.BytesIO(content), allow_pickle=False)
        schema = archive.read("schema.json").decode()
    assert "Reduce" not in schema.replace("ConstructorFromReduceNode", "")
    assert "MethodNode" not in schema


FRESH = """
import numpy, pathlib
folder = pathlib.Path(sys.argv[1])
X = numpy.load(folder / "X.npy")
{imports}
loaded = skops.io.load(folder / "model.skops"{trusted})
numpy.save(folder / "predicted.npy", loaded.predict_proba(X))
"""
WAYS = {
    "sktorch first": ("import sktorch, skops.io", ""),
    "skops first": ("import skops.io, sktorch", ""),
    "by name": ("import skops.io", ", trusted=['sktorch.TorchClassifier']"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_fresh_process_reads_the_archive(way, tmp_path):
    imports, trusted = WAYS[way]
    fitted = make_pipeline(StandardScaler(), net()).fit(X, y)
    skops.io.dump(fitted, tmp_path / "model.skops")
    np.save(tmp_path / "X.npy", X)
    run_in_fresh_process(FRESH.format(imports=imports, trusted=trusted), tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "predicted.npy"), fitted.predict_proba(X))


def test_a_function_is_called_when_a_module_was_imported(tmp_path, monkeypatch):
    (tmp_path / "imported_later.py").write_text("value = 3")
    monkeypatch.syspath_prepend(tmp_path)
    seen = []
    finder = _WhenImported(
        "imported_later", lambda: seen.append(sys.modules["imported_later"].value)
    )
    sys.meta_path.insert(0, finder)
    assert importlib.import_module("imported_later").value == 3
    assert seen == [3]
    assert finder not in sys.meta_path
