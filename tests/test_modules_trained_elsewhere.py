"""A module that was trained elsewhere predicts, scores and is calibrated without training."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import cross_val_predict, cross_val_score
from torch import nn

from sktorch import TorchClassifier, TorchRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
y = (X[:, 0] > 0).astype(int)


def trained(n_outputs=2, frozen=False):
    """A module that knows the answer: the sign of the first column, or its value."""
    module = nn.Linear(4, n_outputs)
    with torch.no_grad():
        module.weight.zero_()
        module.bias.zero_()
        module.weight[-1, 0] = 10 if n_outputs == 2 else 1
    return module.requires_grad_(not frozen)


def handed_over(module, kind=TorchClassifier, **parameters):
    return kind(module, max_epochs=0, **parameters)


by_state = pytest.mark.parametrize("frozen", [False, True], ids=["trainable", "frozen"])


@by_state
@pytest.mark.parametrize("labels", [[0, 1], ["no", "yes"], [False, True], [10, 20]])
def test_a_classifier_predicts_as_the_module_does(labels, frozen):
    target = np.array(labels)[y]
    module = trained(frozen=frozen)
    fitted = handed_over(module).fit(X, target)
    np.testing.assert_array_equal(fitted.classes_, labels)
    np.testing.assert_array_equal(fitted.predict(X), target)
    assert fitted.score(X, target) == 1
    with torch.no_grad():
        by_hand = module(torch.from_numpy(X)).softmax(1)
    np.testing.assert_allclose(fitted.predict_proba(X), by_hand, atol=1e-6)


@by_state
def test_the_weights_stay_as_they_were(frozen):
    module = trained(frozen=frozen)
    fitted = handed_over(module).fit(X, y)
    for mine, theirs in zip(fitted.module_.parameters(), module.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        assert mine.requires_grad == theirs.requires_grad


def test_batch_statistics_stay_as_they_were():
    module = nn.Sequential(nn.BatchNorm1d(4), trained())
    module[0].running_mean.fill_(3.0)
    fitted = handed_over(module).fit(X, y)
    assert (fitted.module_[0].running_mean == 3).all()
    assert fitted.module_[0].num_batches_tracked == 0


@by_state
@pytest.mark.parametrize("scale", [1, 1000])
def test_a_regressor_predicts_what_the_module_returns(frozen, scale):
    module = trained(1, frozen)
    fitted = handed_over(module, TorchRegressor, scale_target=False).fit(X, scale * X[:, 0])
    np.testing.assert_allclose(fitted.predict(X), X[:, 0], atol=1e-5)
    expected = 1 if scale == 1 else None
    if expected:
        assert fitted.score(X, X[:, 0]) == pytest.approx(1)


@by_state
def test_it_goes_where_estimators_go(frozen):
    fresh = handed_over(trained(frozen=frozen))
    assert (cross_val_predict(fresh, X, y, cv=3) == y).all()
    assert (cross_val_score(fresh, X, y, cv=3, error_score="raise") == 1).all()
    np.testing.assert_array_equal(
        CalibratedClassifierCV(fresh, cv=3).fit(X, y).predict(X[:20]), y[:20]
    )
    frozen_net = FrozenEstimator(clone(fresh).fit(X[:10], y[:10]))
    calibrated = CalibratedClassifierCV(frozen_net).fit(X, y)
    np.testing.assert_array_equal(calibrated.predict(X), y)


@by_state
def test_it_is_pickled(frozen):
    fitted = handed_over(trained(frozen=frozen)).fit(X, y)
    other = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))


def test_it_can_be_trained_further():
    fitted = handed_over(trained()).fit(X, y)
    before = fitted.module_.weight.clone()
    fitted.partial_fit(X, y)
    assert not torch.equal(fitted.module_.weight, before)
    assert fitted.n_epochs_ == 1


def test_a_module_without_parameters_is_taken():
    class Rule(nn.Module):
        def forward(self, X):
            return torch.stack([-X[:, 0], X[:, 0]], dim=1)

    assert handed_over(Rule).fit(X, y).score(X, y) == 1


@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
def test_to_train_a_module_that_is_frozen_is_an_error_that_says_so(kind):
    module = trained(2 if kind is TorchClassifier else 1, frozen=True)
    with pytest.raises(ValueError, match=r"requires_grad|frozen|parameter"):
        kind(module, max_epochs=2).fit(X, y)
