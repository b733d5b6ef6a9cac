"""Several nets that predict the same rows: each one's own bits, and what can't be shared."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from sktorch import TorchClassifier, TorchRegressor
from sktorch._net import Net
from sktorch._shared_inputs import predict_together

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype("float32")
LABELS = np.array(["no", "yes", "maybe"])[np.arange(60) % 3]
NUMBERS = X[:, 0] * 3 + 5
FRAME = pd.DataFrame(X, columns=list("abcd"))


def classifiers(X=X, y=LABELS, **parameters):
    """Return nets of several widths, and one that has not seen a class."""
    fitted = [
        TorchClassifier(module__hidden=(width,), max_epochs=2, random_state=width, **parameters)
        for width in (5, 9, 7)
    ]
    fitted = [net.fit(X, y) for net in fitted[:2]] + [
        fitted[2].fit(X[y != "maybe"], y[y != "maybe"])
    ]
    return fitted


CASES = {
    "labels": (classifiers, X, "predict"),
    "probabilities": (classifiers, X, "predict_proba"),
    "logits": (classifiers, X, "decision_function"),
    "tables": (lambda: classifiers(FRAME), FRAME, "predict_proba"),
    "bfloat16": (lambda: classifiers(precision="bfloat16"), X, "predict_proba"),
    "float64": (lambda: classifiers(X.astype(float)), X.astype(float), "predict_proba"),
    "two kinds": (lambda: [*classifiers(), LogisticRegression().fit(X, LABELS)], X, "predict"),
    "two dtypes": (lambda: classifiers() + classifiers(X.astype(float)), X, "predict_proba"),
    "numbers": (
        lambda: [TorchRegressor(max_epochs=2, random_state=s).fit(X, NUMBERS * s) for s in (1, 2)],
        X,
        "predict",
    ),
}


@pytest.mark.parametrize(("make", "rows", "method"), CASES.values(), ids=CASES.keys())
def test_each_predicts_as_it_does_alone(make, rows, method):
    estimators = make()
    together = dict(predict_together(estimators, rows, method))
    assert sorted(together) == [*range(len(estimators))]
    for position, estimator in enumerate(estimators):
        np.testing.assert_array_equal(together[position], getattr(estimator, method)(rows))


def test_rows_are_read_once(monkeypatch):
    calls = []
    forward = Net.forward
    monkeypatch.setattr(Net, "forward", lambda *args, **kw: calls.append(1) or forward(*args, **kw))
    estimators = classifiers()
    assert len([*predict_together(estimators, X, "predict_proba")]) == 3
    assert len(calls) == 1
    assert all("_outputs" not in vars(estimator) for estimator in estimators)


class Noisy(nn.Linear):
    """A layer that draws numbers in predictions, too."""

    def forward(self, X):
        return super().forward(X) + torch.randn(())


def test_nets_that_draw_numbers_predict_alone(monkeypatch):
    nets = [
        TorchClassifier(lambda n_features, n_outputs: Noisy(n_features, n_outputs), max_epochs=1)
        for _ in range(2)
    ]
    calls = []
    forward = Net.forward
    fitted = [net.fit(X, LABELS) for net in nets]
    monkeypatch.setattr(Net, "forward", lambda *args, **kw: calls.append(1) or forward(*args, **kw))
    assert len([*predict_together(fitted, X, "predict_proba")]) == 2
    assert len(calls) == 2


def test_wrong_rows_are_told_as_by_one():
    with pytest.raises(ValueError, match="X has 3 features, but TorchClassifier is expecting 4"):
        [*predict_together(classifiers(), X[:, :3], "predict")]
