"""Copies and pickles of a net: constraints, results of autograd, devices that are not there."""

import copy
import pickle
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from skorch.exceptions import DeviceWarning
from torch import nn
from torch.nn.utils import parametrizations

from sktorch import TorchClassifier, _state

X = np.random.default_rng(0).random((60, 4), dtype=np.float32)
y = np.arange(60) % 2


class Parametrized(nn.Sequential):
    def __init__(self, n_features, n_outputs, constraint):
        super().__init__(constraint(nn.Linear(n_features, 4)), nn.Linear(4, n_outputs))


CONSTRAINTS = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    # The older ones keep a result of autograd as an attribute.
    "older weight_norm": nn.utils.weight_norm,
    "older spectral_norm": nn.utils.spectral_norm,
}
COPIES = {"pickle": lambda value: pickle.loads(pickle.dumps(value)), "deepcopy": copy.deepcopy}


def fitted(module=None, **parameters):
    return TorchClassifier(module, max_epochs=2, random_state=0, **parameters).fit(X, y)


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
def test_a_copy_of_a_constrained_module_trains_on_alike(constraint, copied):
    classifier = fitted(Parametrized, module__constraint=CONSTRAINTS[constraint])
    other = COPIES[copied](COPIES[copied](classifier))
    before = classifier.predict_proba(X)
    after = other.partial_fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(classifier.predict_proba(X), before)
    np.testing.assert_array_equal(classifier.partial_fit(X, y).predict_proba(X), after)
    assert not np.array_equal(before, after)


def test_an_unfitted_estimator_of_a_parametrized_instance_is_pickled():
    module = Parametrized(4, 2, parametrizations.weight_norm)
    other = pickle.loads(pickle.dumps(TorchClassifier(module))).module
    torch.testing.assert_close(other(torch.ones(1, 4)), module(torch.ones(1, 4)))


@pytest.mark.parametrize("there", [True, False], ids=["with its device", "without"])
def test_a_net_travels_from_its_device(there, monkeypatch):
    def resolve_device(device):
        if not there:
            raise ValueError(device)
        return torch.device("cpu")

    module = Parametrized(4, 2, parametrizations.weight_norm)
    module.plain = torch.ones(3)
    classifier = fitted(module)
    # The CPU passes for a GPU, which the machine that unpickles may lack.
    monkeypatch.setattr(_state, "_is_remote", lambda tensor: True)
    monkeypatch.setattr(_state, "resolve_device", resolve_device)
    monkeypatch.setattr(classifier.net_, "device", "cuda")
    dumped = pickle.dumps(classifier.net_)
    with nullcontext() if there else pytest.warns(DeviceWarning, match="loaded to the CPU"):
        net = pickle.loads(dumped)
    assert net.device == ("cuda" if there else "cpu")
    for mine, theirs in zip(net.module_.parameters(), classifier.module_.parameters(), strict=True):
        assert type(mine) is nn.Parameter
        assert mine.requires_grad
        torch.testing.assert_close(mine, theirs)
    assert type(net.module_.plain) is torch.Tensor
    held = [p for group in net.optimizer_.param_groups for p in group["params"]]
    assert all(a is b for a, b in zip(held, net.module_.parameters(), strict=True))
    assert all(type(step) is torch.Tensor for step in net.optimizer_.state[held[0]].values())
