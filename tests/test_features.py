"""Features are counted, named and compared as scikit-learn wants it; shapes, too."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from sktorch._features import check_features
from sktorch.data.sources import as_source
from tests.data.samples import Items
from tests.test_inputs import COLUMNS, classifier, small_integers


def frame_of(frame, X):
    return frame(dict(zip(COLUMNS, X.T, strict=True)))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_feature_names_are_remembered_and_checked(frame):
    X, y = small_integers()
    fitted = classifier().fit(frame(dict(zip(COLUMNS, X.T, strict=True))), y)
    assert fitted.feature_names_in_.tolist() == COLUMNS

    swapped = frame(dict(zip(["b", "a", "c", "d", "e"], X.T, strict=True)))
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        fitted.predict(swapped)
    missing = frame(dict(zip(["a", "b", "c", "d", "z"], X.T, strict=True)))
    with pytest.raises(ValueError, match=r"(?s)names unseen at fit time:.*z.*now missing:.*e"):
        fitted.predict(missing)
    fewer = frame(dict(zip(COLUMNS[:4], X.T[:4], strict=True)))
    with pytest.raises(ValueError, match=r"(?s)now missing:.*e"):
        fitted.partial_fit(fewer, y)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        np.testing.assert_array_equal(fitted.predict(X), fitted.predict(frame_of(frame, X)))


def test_an_array_forgets_the_names_of_an_earlier_fit():
    X, y = small_integers()
    fitted = classifier().fit(frame_of(pd.DataFrame, X), y).fit(X, y)
    assert not hasattr(fitted, "feature_names_in_")
    with pytest.warns(UserWarning, match="fitted without feature names"):
        fitted.predict(frame_of(pd.DataFrame, X))


def test_columns_that_are_no_numbers_are_refused():
    X, y = small_integers()
    frame = pd.DataFrame(X, columns=COLUMNS).assign(a="text")
    with pytest.raises(ValueError, match="could not convert string to float: 'text'"):
        classifier().fit(frame, y)


def check(estimator, X, reset=False):
    fitted_shape = None if reset else estimator.input_shape_
    source = as_source(X, fitted_shape=fitted_shape, checked_for="TorchClassifier")
    check_features(estimator, source, reset=reset)
    return source


def test_features_are_set_and_compared():
    estimator = classifier()
    X, _ = small_integers()
    assert np.shares_memory(check(estimator, X, reset=True).values, X)
    assert (estimator.n_features_in_, estimator.input_shape_) == (5, (5,))
    with pytest.raises(ValueError, match="X has 4 features, but TorchClassifier is expecting 5"):
        check(estimator, X[:, :4])
    with pytest.raises(ValueError, match="X has 4 features, but TorchClassifier is expecting 5"):
        check(estimator, torch.from_numpy(X[:, :4]))
    with pytest.raises(ValueError, match=r"samples of shape \(5, 1\).*\(5,\)"):
        check(estimator, X[:, :, None])


X, _ = small_integers()
SEQUENCES = [X[:1], X[:2], X[:4]]


@pytest.mark.parametrize("other", [{"a": X}, SEQUENCES, Items([*X])])
def test_what_has_no_features_forgets_those_of_an_earlier_fit(other):
    estimator = classifier()
    check(estimator, pd.DataFrame(X, columns=COLUMNS), reset=True)
    check(estimator, other, reset=True)
    assert not hasattr(estimator, "n_features_in_")
    assert not hasattr(estimator, "feature_names_in_")
    assert estimator.cardinalities_ is None


@pytest.mark.parametrize(
    ("fitted", "others"),
    [
        (X, [X[:, :, None], {"a": X}, SEQUENCES]),
        ({"a": X, "b": X}, [X, {"a": X}, {"a": X, "c": X}]),
        (SEQUENCES, [X, {"a": X}]),
        (Items([(x, x) for x in X]), [X, {"a": X, "b": X}, Items([(x, x, x) for x in X])]),
    ],
)
def test_samples_of_another_structure(fitted, others):
    estimator = classifier()
    check(estimator, fitted, reset=True)
    check(estimator, fitted)
    for other in others:
        with pytest.raises(ValueError, match=r"TorchClassifier was fitted on .*X"):
            check(estimator, other)
