"""Whatever goes wrong inside a component, the error names the parameter that the user gave."""

# ruff: noqa: PT017 - some may be answered or refused, and what refuses has to say why

import re

import numpy as np
import pytest
import torch
from skorch.callbacks import Freezer
from torch import nn

from sktorch import TorchClassifier, TorchRegressor
from sktorch._errors import errors_name

RNG = np.random.default_rng(0)
X = RNG.random((60, 4), dtype=np.float32)
y = np.arange(60) % 2


def net(kind=TorchClassifier, **parameters):
    return kind(**{"max_epochs": 2, "random_state": 0, "batch_size": 20} | parameters)


def none(*arguments, **named):
    return None


def failing(*arguments, **named):
    raise RuntimeError("out of luck")


class FailingForward(nn.Module):
    forward = failing


# Settings, and the parameter that the error has to name.
COMPONENTS = {
    "betas too short": ({"optimizer__betas": (0.9,)}, "optimizer__betas"),
    "betas too large": ({"optimizer__betas": (0.9, 1.5)}, "optimizer__betas"),
    "betas a number": ({"optimizer__betas": 0.9}, "optimizer__betas"),
    "eps negative": ({"optimizer__eps": -1.0}, "optimizer__eps"),
    "weight decay a word": ({"optimizer__weight_decay": "much"}, "optimizer__weight_decay"),
    "weight decay None": ({"optimizer__weight_decay": None}, "optimizer__weight_decay"),
    "momentum negative": ({"optimizer": "sgd", "optimizer__momentum": -1}, "optimizer__momentum"),
    "momentum a word": ({"optimizer": "sgd", "optimizer__momentum": "x"}, "optimizer__momentum"),
    "groups without settings": ({"optimizer__param_groups": ["*.bias"]}, "optimizer__param_groups"),
    "groups of an unknown setting": (
        {"optimizer__param_groups": [("*.bias", {"learning": 1})]},
        "optimizer__param_groups",
    ),
    "groups a number": ({"optimizer__param_groups": 3}, "optimizer__param_groups"),
    "optimizer that returns None": ({"optimizer": none}, "optimizer"),
    "optimizer that fails": ({"optimizer": failing}, "optimizer"),
    "timeout without workers": ({"iterator_train__timeout": 5}, "iterator_train__timeout"),
    "timeout negative": ({"iterator_train__timeout": -5}, "iterator_train__timeout"),
    "workers negative": ({"iterator_train__num_workers": -1}, "iterator_train__num_workers"),
    "workers a word": ({"iterator_train__num_workers": "x"}, "iterator_train__num_workers"),
    "prefetch without workers": (
        {"iterator_train__prefetch_factor": 2},
        "iterator_train__prefetch_factor",
    ),
    "persistent without workers": (
        {"iterator_train__persistent_workers": True},
        "iterator_train__persistent_workers",
    ),
    "batch size of the loader": ({"iterator_train__batch_size": 0}, "iterator_train__batch_size"),
    "sampler a number": ({"iterator_train__sampler": 3}, "iterator_train__sampler"),
    "sampler and batch sampler": (
        {"iterator_train__sampler": [0], "iterator_train__batch_sampler": [[0]]},
        "iterator_train__",
    ),
    "sampler out of range": (
        {"iterator_train__sampler": [0, 99]},
        "iterator_train__sampler|sampler",
    ),
    "collate that returns None": ({"iterator_train__collate_fn": none}, "collate_fn"),
    "collate that fails": ({"iterator_train__collate_fn": failing}, "collate_fn"),
    "loader of predictions": (
        {"iterator_valid__timeout": 5, "early_stopping": True},
        "iterator_valid__timeout",
    ),
    "augment that returns None": ({"augment": none}, "augment"),
    "augment that fails": ({"augment": failing}, "augment"),
    "augment of fewer rows": ({"augment": lambda X: X[1:]}, "augment"),
    "augment of fewer columns": ({"augment": lambda X: X[:, 1:]}, "augment"),
    "augment to an array": ({"augment": lambda X: X.numpy()}, "augment"),
    "augment of no parameter": ({"augment": lambda: None}, "augment"),
    "everything frozen": ({"callbacks": [Freezer("*")]}, "Freezer|callbacks|frozen"),
    "loss weight too short": ({"criterion__weight": torch.ones(1)}, "criterion"),
    "loss weight a word": ({"criterion__weight": "x"}, "criterion__weight"),
    "smoothing too large": ({"criterion__label_smoothing": 2.0}, "criterion__label_smoothing"),
    "smoothing a word": ({"criterion__label_smoothing": "x"}, "criterion__label_smoothing"),
    "reduction unknown": ({"criterion__reduction": "median"}, "criterion"),
    "loss that returns None": ({"criterion": none}, "criterion"),
    "loss that fails": ({"criterion": failing}, "criterion"),
    "loss of one argument": ({"criterion": lambda output: output.sum()}, "criterion"),
    "width negative": ({"module__hidden": -1}, "hidden"),
    "width a word": ({"module__hidden": "wide"}, "hidden"),
    "activation unknown": ({"module__activation": "step"}, "activation"),
    "dropout too large": ({"module__dropout": 2.0}, "dropout"),
    "module that returns None": ({"module": none}, "module"),
    "module that fails": ({"module": failing}, "module"),
    "module that fails in forward": ({"module": FailingForward}, "module"),
    "schedule gamma a word": (
        {"lr_schedule": "exponential", "lr_schedule__gamma": "x"},
        "lr_schedule__gamma",
    ),
    "schedule that fails": ({"lr_schedule": failing}, "lr_schedule"),
    "schedule that returns None": ({"lr_schedule": none}, "lr_schedule"),
    "initializer that fails": ({"initializer": failing}, "initializer"),
    "scorer that fails": ({"scoring": failing}, "scoring"),
    "scorer that returns None": ({"scoring": none}, "scoring"),
    "scorer that returns an array": ({"scoring": lambda e, X, y: np.ones(3)}, "scoring"),
    "compile of no mode": ({"compile": {"mode": "nonsense"}}, "compile"),
    "compile of no argument": ({"compile": {"speed": 3}}, "compile"),
    "device unknown": ({"device": "tpu9"}, "device"),
    "device not there": ({"device": "cuda:99"}, "device"),
}


@pytest.mark.parametrize("name", COMPONENTS)
def test_an_error_of_a_component_names_the_parameter(name):
    settings, parameter = COMPONENTS[name]
    with pytest.raises((ValueError, TypeError), match=parameter):
        net(**settings).fit(X, y)


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_fitted_estimator_stays_usable_after_an_error_of_a_component(name):
    settings, _ = COMPONENTS[name]
    fitted = net().fit(X, y)
    before = fitted.predict_proba(X)
    with pytest.raises(Exception):  # noqa: B017, PT011 - which one is told above
        fitted.set_params(**settings).fit(X, y)
    np.testing.assert_array_equal(fitted.predict_proba(X), before)


class Own(Exception):
    """An error of a user's own that is about something else."""


def raising_own(*arguments, **named):
    raise Own("my own")


@pytest.mark.parametrize("parameter", ["augment", "criterion", "module", "scoring", "initializer"])
def test_the_error_of_a_function_is_the_cause(parameter):
    with pytest.raises((ValueError, TypeError, Own)) as caught:
        net(**{parameter: raising_own}).fit(X, y)
    causes = [caught.value]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    assert isinstance(causes[-1], Own)


class Pruned(RuntimeError):
    """An error for which somebody waits outside, as optuna does."""


@pytest.mark.parametrize(
    "error",
    [
        *(Own("own"), Pruned("own"), torch.OutOfMemoryError("full")),
        *(MemoryError("full"), FileNotFoundError("file"), FutureWarning("old")),
        *(ValueError("lr is too large"), TypeError("lr__x is none")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_somebody_waits_for_stays_as_it_is(error):
    with pytest.raises(type(error)) as caught, errors_name("lr"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("error", "given", "kind", "message"),
    [
        (TypeError("no."), {}, TypeError, "lr can't be used: no. Change lr."),
        (KeyError("a"), {"b": 1}, ValueError, "lr with lr__b=1 can't be used: 'a'. Change lr__b."),
        (
            AssertionError(),
            {"b": 1, "c": 2},
            ValueError,
            "lr with lr__b=1, lr__c=2 can't be used: AssertionError. Change lr__*.",
        ),
    ],
)
def test_other_errors_name_the_parameters(error, given, kind, message):
    with pytest.raises(kind) as caught, errors_name("lr", given):
        raise error
    assert str(caught.value) == message
    assert caught.value.__cause__ is error


def quantised():
    return torch.quantize_per_tensor(torch.from_numpy(X), 0.1, 0, torch.qint8)


TENSORS = {
    "meta": lambda: torch.ones(60, 4, device="meta"),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(4)] * 60),
    "jagged": lambda: torch.nested.nested_tensor([torch.ones(4)] * 60, layout=torch.jagged),
    "quantised": quantised,
    "float8": lambda: torch.from_numpy(X).to(torch.float8_e4m3fn),
    "float8, another": lambda: torch.from_numpy(X).to(torch.float8_e5m2),
    "complex": lambda: torch.from_numpy(X).to(torch.complex64),
    "coo": lambda: torch.from_numpy(X).to_sparse(),
    "csr": lambda: torch.from_numpy(X).to_sparse_csr(),
    "csc": lambda: torch.from_numpy(X).to_sparse_csc(),
    "bsr": lambda: torch.from_numpy(X).to_sparse_bsr((2, 2)),
    "scalar": lambda: torch.tensor(3.0),
    "no rows": lambda: torch.empty(0, 4),
    "no columns": lambda: torch.empty(60, 0),
    "one dimension": lambda: torch.ones(60),
}
quiet = pytest.mark.filterwarnings("ignore")


@quiet
@pytest.mark.parametrize("tensor", TENSORS)
@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
def test_a_tensor_is_trained_on_or_named(tensor, kind):
    given, fresh = TENSORS[tensor](), net(kind)
    try:
        fresh.fit(given, y)
    except (ValueError, TypeError) as error:
        assert re.search(r"\bX\b|[Aa]rray", str(error)), error
    else:
        assert np.isfinite(fresh.predict(given)).all()


@quiet
@pytest.mark.parametrize("tensor", TENSORS)
def test_a_tensor_is_predicted_or_named(tensor):
    given, fitted = TENSORS[tensor](), net().fit(X, y)
    try:
        p = fitted.predict_proba(given)
    except (ValueError, TypeError) as error:
        assert re.search(r"\bX\b|[Aa]rray", str(error)), error
    else:
        assert p.shape == (60, 2)
        assert np.isfinite(p).all()


class Two(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.output = nn.Linear(4, n_outputs)

    def forward(self, A, B):
        return self.output(A + B)


@quiet
@pytest.mark.parametrize("tensor", [name for name in TENSORS if name != "one dimension"])
def test_a_tensor_that_is_an_entry_is_trained_on_or_named(tensor):
    given, fresh = {"A": X, "B": TENSORS[tensor]()}, net(module=Two)
    try:
        fresh.fit(given, y)
    except (ValueError, TypeError) as error:
        assert "B" in str(error)
    else:
        assert np.isfinite(fresh.predict_proba(given)).all()


@quiet
@pytest.mark.parametrize(
    "tensor",
    ["meta", "nested", "jagged", "quantised", "complex", "coo", "csr", "scalar", "no rows"],
)
@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
def test_a_tensor_that_can_not_be_a_target_is_named(tensor, kind):
    with pytest.raises((ValueError, TypeError), match=r"\by\b|inconsistent|target|label"):
        net(kind).fit(X, TENSORS[tensor]())


@quiet
@pytest.mark.parametrize(
    "tensor",
    ["meta", "nested", "jagged", "quantised", "complex", "coo", "csr", "scalar", "no rows"],
)
def test_a_tensor_that_can_not_be_a_weight_is_named(tensor):
    with pytest.raises((ValueError, TypeError), match=r"weight"):
        net().fit(X, y, sample_weight=TENSORS[tensor]())


WEIGHTS = {
    "all zero": np.zeros(60),
    "negative": -np.ones(60),
    "NaN": np.full(60, np.nan),
    "infinite": np.full(60, np.inf),
    "too few": np.ones(59),
    "a word": "balanced",
    "words": ["a"] * 60,
    "columns": np.ones((60, 2)),
    "a dict": {0: 1.0},
}


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS.keys())
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 1, 1: 2}, {0: 0, 1: 0}])
def test_weights_that_can_not_be_trained_with_are_named(weights, class_weight):
    with pytest.raises((ValueError, TypeError), match="weight"):
        net(class_weight=class_weight).fit(X, y, sample_weight=weights)


@pytest.mark.parametrize("several", [np.stack([y, 1 - y], 1), np.stack([y, y * 2], 1)])
def test_balanced_columns_with_all_weights_zero_are_named(several):
    with pytest.raises((ValueError, TypeError), match="weight"):
        net(class_weight="balanced").fit(X, several, sample_weight=np.zeros(60))


CLASS_WEIGHTS = ["equal", 3, {0: -1, 1: 1}, {0: np.nan, 1: 1}, {0: "a", 1: "b"}, [{0: 1}], {5: 1}]


@pytest.mark.parametrize("class_weight", CLASS_WEIGHTS, ids=str)
def test_class_weights_that_can_not_be_are_named(class_weight):
    with pytest.raises((ValueError, TypeError), match="weight"):
        net(class_weight=class_weight).fit(X, y)
