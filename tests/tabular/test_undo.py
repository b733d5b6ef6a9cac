"""A fit that fails leaves the estimator as it was."""

from functools import partial

import numpy as np
import pytest

from sktorch.tabular._undo import leaves_unchanged_on_failure
from tests.tabular.samples import classifier, numbers, regressor
from tests.training.interrupting import interrupted_everywhere

X, labels, y = numbers()
MAKERS = [(classifier, labels), (regressor, y)]


class Estimator:
    @leaves_unchanged_on_failure
    def fit(self, value, fails=False):
        """Fit it."""
        self.first_, self.second_ = value, value
        if fails:
            raise KeyboardInterrupt
        return self


def test_attributes_stay_and_new_ones_go():
    fresh, fitted = Estimator(), Estimator().fit(1)
    for estimator, before in [(fresh, {}), (fitted, {"first_": 1, "second_": 1})]:
        with pytest.raises(KeyboardInterrupt):
            estimator.fit(2, fails=True)
        assert vars(estimator) == before
        assert vars(estimator.fit(3)) == {"first_": 3, "second_": 3}
    assert Estimator.fit.__doc__ == "Fit it."


WRONG = {
    "target": lambda X, y: (X[:, :2], np.full(len(y), np.nan)),
    "columns": lambda X, y: (np.zeros((len(y), 2)), y),
    "lengths": lambda X, y: (X[:, :2], y[1:]),
    "complex": lambda X, y: (X[:, :2] * 1j, y),
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize(("make", "target"), MAKERS)
def test_bad_data_leave_a_fitted_estimator_as_it_was(make, target, data):
    estimator = make().fit(X, target)
    before, predicted = vars(estimator).copy(), estimator.predict(X)
    with pytest.raises((ValueError, TypeError)):
        estimator.fit(*data(X, target))
    assert vars(estimator) == before
    np.testing.assert_array_equal(estimator.predict(X), predicted)


@pytest.mark.parametrize(("make", "target"), MAKERS)
def test_bad_data_leave_a_new_estimator_without_attributes(make, target):
    estimator = make()
    before = vars(estimator).copy()
    with pytest.raises(ValueError, match="inconsistent"):
        estimator.fit(X, target[1:])
    assert vars(estimator) == before


@pytest.mark.parametrize(
    ("make", "target", "files"),
    [
        (classifier, labels, {"_classifier.py", "_estimator.py"}),
        (regressor, y, {"_regressor.py", "_estimator.py"}),
    ],
)
def test_an_interrupt_after_any_call_leaves_a_fitted_estimator_as_it_was(make, target, files):
    estimator = make(max_epochs=1, n_members=2).fit(X[:20], target[:20])
    before = vars(estimator).copy()
    fit = partial(estimator.fit, X[:20], target[:20])
    n_interrupts = 0
    for n_interrupts in interrupted_everywhere(fit, files, after_calls=True):
        assert vars(estimator) == before, n_interrupts
    assert n_interrupts > 20
    assert vars(estimator)["module_"] is not before["module_"]
