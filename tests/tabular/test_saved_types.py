"""Estimators for raw tables in files, archives and pickles: the same model, to the bit."""

import copy
import io
import pickle
from textwrap import dedent

import numpy as np
import pytest
import skops.io
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import sktorch
from sktorch import load, save
from sktorch._saved_types import KNOWN
from sktorch.tabular._saved_types import SAVED_TYPES
from tests.tabular.samples import classifier, frame, regressor
from tests.test_persistence import run_in_fresh_process

LABELS = np.where(np.arange(60) % 2, "odd", "even")
NUMBERS = np.exp(np.arange(60) % 11)
MADE = {
    "labels": lambda: classifier().fit(frame(), LABELS),
    "weighted": lambda: classifier(class_weight={"odd": 2.0}).fit(frame(), LABELS),
    "objects": lambda: classifier(loss="error").fit(frame(), LABELS.astype(object)),
    "numbers": lambda: regressor().fit(frame(), NUMBERS),
    "quantile": lambda: regressor(loss="quantile", quantile=0.9).fit(frame(), -NUMBERS),
    "no layers": lambda: regressor(hidden=(), extrapolate=True).fit(frame(), NUMBERS),
    "categories": lambda: classifier(categorical_features=["number"]).fit(frame(), LABELS),
}


def by_file(estimator, folder):
    save(estimator, folder / "model.safetensors")
    return load(folder / "model.safetensors")


def by_skops(estimator, folder):
    data = skops.io.dumps(estimator)
    assert skops.io.get_untrusted_types(data=data) == []
    return skops.io.loads(data)


WAYS = {
    "save": by_file,
    "skops": by_skops,
    "pickle": lambda estimator, folder: pickle.loads(pickle.dumps(estimator)),
    "deepcopy": lambda estimator, folder: copy.deepcopy(estimator),
}


def assert_same(other, estimator):
    assert vars(other).keys() == vars(estimator).keys()
    assert other.history_ == estimator.history_
    assert other.validation_score_ == estimator.validation_score_
    assert str(other.cleaner_.report()) == str(estimator.cleaner_.report())
    for name in ("predict", "predict_proba"):
        if hasattr(estimator, name):
            predicted = getattr(estimator, name)(frame())
            np.testing.assert_array_equal(getattr(other, name)(frame()), predicted)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("make", MADE.values(), ids=MADE.keys())
def test_they_come_back_the_same(make, way, tmp_path):
    fitted = make()
    other = way(fitted, tmp_path)
    assert type(other) is type(fitted)
    assert_same(other, fitted)
    target = LABELS if hasattr(fitted, "classes_") else NUMBERS
    again = other.fit(frame(), target).predict(frame())
    np.testing.assert_array_equal(again, fitted.fit(frame(), target).predict(frame()))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_they_come_back_before_they_are_fitted(way, tmp_path):
    other = way(classifier(lr=0.5), tmp_path)
    assert other.get_params() == classifier(lr=0.5).get_params()
    assert not hasattr(other, "module_")


@pytest.mark.parametrize("way", [by_skops, WAYS["pickle"]])
def test_inside_of_pipelines_and_searches(way, tmp_path):
    pipeline = make_pipeline(FunctionTransformer(), regressor())
    fitted = GridSearchCV(pipeline, {"tabularregressor__lr": [0.01, 0.02]}, cv=2)
    fitted.fit(frame(), NUMBERS)
    if way is by_skops:
        data = skops.io.dumps(fitted)
        names = skops.io.get_untrusted_types(data=data)
        assert not [name for name in names if not name.startswith("sklearn.")]
        other = skops.io.loads(data, trusted=names)
    else:
        other = way(fitted, tmp_path)
    np.testing.assert_array_equal(other.predict(frame()), fitted.predict(frame()))


def test_a_fresh_process_reads_the_files(tmp_path):
    code = """
    import pathlib, pickle, sys
    import numpy, skops.io, sktorch
    from tests.tabular.samples import frame
    folder = pathlib.Path(sys.argv[1])
    loaded = {
        "saved": sktorch.load(folder / "saved"),
        "archive": skops.io.load(folder / "archive"),
        "pickle": pickle.loads((folder / "pickle").read_bytes()),
    }
    predicted = {name: estimator.predict_proba(frame()) for name, estimator in loaded.items()}
    numpy.savez(folder / "predicted.npz", **predicted)
    """
    fitted = MADE["labels"]()
    save(fitted, tmp_path / "saved")
    skops.io.dump(fitted, tmp_path / "archive")
    (tmp_path / "pickle").write_bytes(pickle.dumps(fitted))
    run_in_fresh_process(dedent(code), tmp_path)
    with np.load(tmp_path / "predicted.npz") as predicted:
        assert {*predicted} == {"saved", "archive", "pickle"}
        for p in predicted.values():
            np.testing.assert_array_equal(p, fitted.predict_proba(frame()))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_a_device_that_is_not_there_is_the_cpu(way, tmp_path):
    fitted = MADE["numbers"]().set_params(device="cuda:99")
    other = way(fitted, tmp_path)
    assert other.device == "cuda:99"
    assert next(other.module_.parameters()).device.type == "cpu"
    np.testing.assert_array_equal(other.predict(frame()), fitted.predict(frame()))


class OnAnotherDevice(torch.nn.Linear):
    """A layer that lies where it has no values, as on a device of which this machine has none."""

    def __init__(self):
        super().__init__(1, 1, device="meta")

    def __deepcopy__(self, memo):
        return torch.nn.Linear(1, 1)


def test_pickles_hold_what_lies_on_a_device_as_it_lies_on_the_cpu():
    fitted = MADE["numbers"]()
    fitted.module_ = OnAnotherDevice()
    state = fitted.__getstate__()
    assert state["module_"].weight.device.type == "cpu"
    assert fitted.module_.weight.device.type == "meta"


def test_every_type_has_its_name_in_files():
    assert SAVED_TYPES.items() <= KNOWN.items()
    assert KNOWN["sktorch.TabularClassifier"] is sktorch.TabularClassifier
    assert KNOWN["sktorch.TabularRegressor"] is sktorch.TabularRegressor


def test_no_pickle_is_in_a_file():
    buffer = io.BytesIO(skops.io.dumps(MADE["labels"]()))
    assert b"\x80\x04\x95" not in buffer.getvalue()
