"""A pattern of parameter names that means no parameter is an error."""

import numpy as np
import pytest
import torch

from sktorch import TorchClassifier

X = np.random.default_rng(0).random((60, 4), dtype=np.float32)
y = np.arange(60) % 2
SLOW = {"lr": 1e-5}

RIGHT = {
    "biases": [("*.bias", SLOW)],
    "one name": [("1.weight", SLOW)],
    "biases, then the rest": [("*.bias", SLOW), ("*", {"lr": 1e-4})],
    "two that share none": [("1.*", SLOW), ("3.*", SLOW)],
    "everything": [("*", SLOW)],
    "two that overlap": [("1.*", SLOW), ("*.bias", SLOW)],
}
# The groups, and the pattern that is to be named.
WRONG = {
    "a name of no parameter": ([("*.biases", SLOW)], "*.biases"),
    "a prefix of no layer": ([("encoder.*", SLOW)], "encoder.*"),
    "a part of a name": ([("bias", SLOW)], "bias"),
    "one of two": ([("*.bias", SLOW), ("head.*", SLOW)], "head.*"),
    "taken by the one before": ([("*", SLOW), ("*.bias", SLOW)], "*.bias"),
    "twice the same": ([("*.bias", SLOW), ("*.bias", {"lr": 1e-4})], "*.bias"),
    "taken by two before": ([("1.*", SLOW), ("3.*", SLOW), ("*.weight", SLOW)], "*.weight"),
}


def net(**parameters):
    return TorchClassifier(**{"max_epochs": 1, "random_state": 0} | parameters)


@pytest.mark.parametrize("groups", RIGHT.values(), ids=RIGHT.keys())
def test_patterns_that_match_make_groups(groups):
    optimizer = net(optimizer__param_groups=groups).fit(X, y).optimizer_
    filled = [group for group in optimizer.param_groups if group["params"]]
    assert len(filled) >= len(groups)
    assert sum(len(group["params"]) for group in filled) == 4
    assert [group["lr"] for group in filled[: len(groups)]] == [own["lr"] for _, own in groups]


@pytest.mark.parametrize(("groups", "pattern"), WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", torch.optim.RMSprop])
def test_a_pattern_without_a_parameter_is_refused(groups, pattern, optimizer):
    with pytest.raises(ValueError, match="optimizer__param_groups") as caught:
        net(optimizer=optimizer, optimizer__param_groups=groups).fit(X, y)
    assert repr(pattern) in str(caught.value)


@pytest.mark.parametrize(("groups", "pattern"), WRONG.values(), ids=WRONG.keys())
def test_a_pattern_without_a_parameter_is_refused_where_training_goes_on(groups, pattern):
    fitted = net(warm_start=True).fit(X, y)
    before = fitted.predict_proba(X)
    with pytest.raises(ValueError, match="optimizer__param_groups"):
        fitted.set_params(optimizer__param_groups=groups).fit(X, y)
    np.testing.assert_array_equal(fitted.predict_proba(X), before)


def test_an_initializer_without_a_parameter_is_refused():
    with pytest.raises(ValueError, match="initializer"):
        net(initializer={"encoder.*": "zeros"}).fit(X, y)
