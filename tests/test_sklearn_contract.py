"""scikit-learn's own checks: all pass, none is skipped, none expected to fail."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.utils.estimator_checks import check_array_api_input, check_estimator
from torch import nn

from sktorch import TabularClassifier, TabularRegressor, TorchClassifier, TorchRegressor

# With scikit-learn 1.9.1; a change of these numbers is worth a look.
N_CHECKS = {
    TorchClassifier: 69,
    TorchRegressor: 61,
    TabularClassifier: 62,
    TabularRegressor: 58,
}

# The check compares weighted rows with repeated ones, to 1e-7. A hold-out of other rows, or
# batches of other rows, are another training by the check's own construction.
WEIGHTS_AS_REPETITIONS = {
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
}


class OwnModule(nn.Module):
    """A module as a user writes it; ``dtype`` lets it follow X, as the checks' precision needs."""

    def __init__(self, n_features, n_outputs, dtype):
        super().__init__()
        self.hidden = nn.Linear(n_features, 100, dtype=dtype)
        self.output = nn.Linear(100, n_outputs, dtype=dtype)

    def forward(self, X):
        return self.output(self.hidden(X).relu())


@pytest.mark.parametrize(
    ("estimator", "not_comparable"),
    [
        (TorchClassifier(), set()),
        (TorchClassifier(OwnModule), set()),
        (TorchClassifier(early_stopping=True), WEIGHTS_AS_REPETITIONS),
        (TorchClassifier(batch_size=20), WEIGHTS_AS_REPETITIONS),
        (TorchClassifier(criterion="bce_with_logits"), set()),
        (TorchRegressor(), set()),
        (TorchRegressor(early_stopping=True), WEIGHTS_AS_REPETITIONS),
        (TabularClassifier(n_members=3, hidden=(32,), max_epochs=50), set()),
        (TabularRegressor(n_members=3, hidden=(32,), max_epochs=50), set()),
    ],
    ids=[
        "default",
        "own-module",
        "early-stopping",
        "small-batches",
        "one-logit",
        "regressor",
        "regressor-early-stopping",
        "tables",
        "tables-regressor",
    ],
)
def test_check_estimator(estimator, not_comparable):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The checks provoke warnings and look at them themselves.
        results = check_estimator(estimator, on_fail=None, on_skip=None)
    by_status = {"passed": set(), "failed": set(), "skipped": set(), "xfail": set()}
    for result in results:
        by_status[result["status"]].add(result["check_name"])

    assert len(results) == N_CHECKS[type(estimator)]
    assert by_status["failed"] == not_comparable, [
        result["exception"] for result in results if result["exception"] is not None
    ]
    assert not by_status["skipped"]
    assert not by_status["xfail"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
def test_torch_tensors_pass_the_array_api_check(kind, dtype):
    # The tag array_api_support is about every array library, and its checks skip those that are
    # not installed; tensors of torch, which go through, are checked here.
    check_array_api_input(
        kind.__name__,
        kind(max_epochs=5, random_state=0),
        array_namespace="torch",
        device_name="cpu",
        dtype_name=dtype,
        expect_only_array_outputs=False,
    )


@pytest.mark.parametrize("batch_size", [128, 7])
def test_a_zero_weight_is_absence(iris, batch_size):
    X, y = iris
    weight = np.random.RandomState(0).randint(0, 2, len(y)).astype(float)
    kept = weight > 0
    settings = {"max_epochs": 3, "batch_size": batch_size, "random_state": 0}
    weighted = TorchClassifier(**settings).fit(X, y, sample_weight=weight)
    absent = TorchClassifier(**settings).fit(X[kept], y[kept], sample_weight=weight[kept])
    assert torch.equal(weighted.module_[1].weight, absent.module_[1].weight)
    np.testing.assert_array_equal(weighted.predict_proba(X), absent.predict_proba(X))
