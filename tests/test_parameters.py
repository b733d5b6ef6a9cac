"""Names and values of parameters: the right ones arrive, the wrong ones are named."""

import inspect
import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn
from torch.utils.data import SequentialSampler, SubsetRandomSampler, WeightedRandomSampler

from sktorch import TorchClassifier, TorchRegressor
from sktorch._parameters import COMPONENTS, RULES
from sktorch.modules import MLP


class Own(nn.Module):
    def __init__(self, n_features, n_outputs, depth=1):
        super().__init__()
        self.layers = nn.Sequential(*[nn.Linear(n_features, n_features) for _ in range(depth)])
        self.output = nn.Linear(n_features, n_outputs)

    def forward(self, X):
        return self.output(self.layers(X))


def anything(n_features, n_outputs, **options):
    return MLP(n_features, n_outputs, **options)


@pytest.fixture(scope="module")
def data():
    X = np.random.RandomState(0).randn(30, 4).astype("float32")
    return X, (X[:, 0] > 0).astype(int)


def quick(**parameters):
    settings = {"max_epochs": 2, "batch_size": 10, "random_state": 0, "device": "cpu"}
    return TorchClassifier(**(settings | parameters))


# Names

UNKNOWN = [
    ({}, "module__hiden", "Did you mean 'module__hidden'"),
    ({}, "modul__hidden", "Did you mean 'module__hidden'"),
    ({}, "hidden", "Did you mean 'module__hidden'"),
    ({}, "num_workers", "Did you mean 'iterator_train__num_workers'"),
    ({}, "weight_decay", "Did you mean 'optimizer__weight_decay'"),
    ({}, "max_epoch", "Did you mean 'max_epochs'"),
    ({}, "batchsize", "Did you mean 'batch_size'"),
    ({}, "iterator__num_workers", "Did you mean 'iterator_(train|valid)__num_workers'"),
    ({}, "optimizer__weigth_decay", "Did you mean 'optimizer__weight_decay'"),
    ({}, "criterion__label_smothing", "Did you mean 'criterion__label_smoothing'"),
    ({}, "iterator_valid__num_worker", "Did you mean 'iterator_valid__num_workers'"),
    ({}, "optimizer__momentum", "no parameter 'optimizer__momentum'"),
    ({"optimizer": torch.optim.SGD}, "optimizer__betas", "no parameter 'optimizer__betas'"),
    ({"module": Own}, "module__hidden", "no parameter 'module__hidden'"),
    ({"module": Own}, "module__dept", "Did you mean 'module__depth'"),
    ({}, "qqqqqqqqqq", r"Valid are module, criterion.*module__\*.*callbacks__\*"),
    ({}, "module__", "no parameter 'module__'"),
    ({}, "__hidden", "no parameter '__hidden'"),
    ({}, "lr__x", "no parameter 'lr__x'"),
]


@pytest.mark.parametrize(("given", "name", "message"), UNKNOWN)
def test_an_unknown_name_is_refused_with_the_nearest_one(given, name, message):
    with pytest.raises(TypeError, match=f"TorchClassifier has no parameter '{name}'") as failure:
        TorchClassifier(**given, **{name: 1})
    assert failure.match(message)
    estimator = TorchClassifier(**given)
    with pytest.raises(ValueError, match=message):
        estimator.set_params(**{name: 1})
    assert name not in vars(estimator)
    assert name not in estimator.get_params()


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "module__hidden"),
        ({"module": Own}, "module__depth"),
        ({"module": anything}, "module__whatever"),
        ({"optimizer": torch.optim.SGD}, "optimizer__momentum"),
        ({}, "optimizer__param_groups"),
        ({"criterion": nn.NLLLoss}, "criterion__weight"),
        ({}, "iterator_train__num_workers"),
        ({}, "iterator_valid__batch_size"),
        ({}, "callbacks__print_log__sink"),
    ],
)
def test_a_known_name_is_a_parameter(given, name):
    value = (1, 2)
    for estimator in (
        TorchClassifier(**given, **{name: value}),
        TorchClassifier(**given).set_params(**{name: value}),
    ):
        assert estimator.get_params()[name] is value
        assert estimator.get_params(deep=False)[name] is value
        assert getattr(estimator, name) is value
        assert clone(estimator).get_params()[name] == value
        assert f"{name}=(1, 2)" in repr(estimator)
        assert pickle.loads(pickle.dumps(estimator)).get_params()[name] == value


@pytest.mark.parametrize(
    "wrong",
    [
        {"module__hiden": 1},
        {"lrr": 1},
        {"module__hidden__x__": 1, "nonsense": 2},
        {"module": Own, "module__hidden": (2,)},
        {"optimizer": torch.optim.SGD, "optimizer__betas": (0, 0)},
    ],
)
def test_a_failed_set_params_sets_nothing(wrong):
    estimator = TorchClassifier(lr=0.1, module__hidden=(7,))
    before = estimator.get_params()
    with pytest.raises(ValueError, match="has no parameter"):
        estimator.set_params(lr=0.5, optimizer__weight_decay=0.3, **wrong)
    assert estimator.get_params() == before


def test_set_params_goes_by_the_new_component():
    estimator = TorchClassifier().set_params(module__depth=2, module=Own)
    assert estimator.get_params()["module__depth"] == 2
    assert estimator.set_params() is estimator


def test_clone_has_the_same_parameters_and_no_weights(data):
    fitted = quick(module__hidden=(3,), optimizer__weight_decay=0.5).fit(*data)
    cloned = clone(fitted)
    assert cloned.get_params() == fitted.get_params()
    assert not hasattr(cloned, "net_")
    np.testing.assert_array_equal(
        cloned.fit(*data).predict_proba(data[0]), fitted.predict_proba(data[0])
    )


def test_init_only_assigns():
    arguments = {"module": 3, "criterion": "x", "optimizer": None, "lr": "a", "max_epochs": -1}
    arguments |= {"device": "nowhere", "random_state": "x", "callbacks": 5}
    estimator = TorchClassifier(**arguments)
    assert {name: getattr(estimator, name) for name in arguments} == arguments
    assert vars(estimator).keys() == TorchClassifier().get_params().keys()


def test_set_params_leaves_fitted_weights_alone(data):
    X, y = data
    fitted = quick(module__hidden=(3,)).fit(X, y)
    before = fitted.predict_proba(X)
    fitted.set_params(
        module__hidden=(9, 9), lr=7.0, optimizer=torch.optim.SGD, criterion=nn.NLLLoss
    )
    fitted.set_params(batch_size=3, random_state=5, module=Own)
    np.testing.assert_array_equal(fitted.predict_proba(X), before)


@pytest.mark.parametrize(
    ("fitted_with", "set_later"),
    [(nn.CrossEntropyLoss, nn.MultiMarginLoss), (nn.CrossEntropyLoss, "nonsense")],
)
def test_a_criterion_set_later_does_not_take_fitted_probabilities_away(
    fitted_with, set_later, data
):
    X, y = data
    fitted = quick(criterion=fitted_with).fit(X, y)
    before = fitted.predict_proba(X)
    fitted.set_params(criterion=set_later)
    np.testing.assert_array_equal(fitted.predict_proba(X), before)


def test_a_criterion_set_later_gives_no_probabilities_to_fitted_margins(data):
    fitted = (
        quick(criterion=nn.MultiMarginLoss).fit(*data).set_params(criterion=nn.CrossEntropyLoss)
    )
    with pytest.raises(AttributeError, match="predict_proba"):
        fitted.predict_proba(data[0])


def test_the_signature_is_what_scikit_learn_reads():
    parameters = inspect.signature(TorchClassifier).parameters
    assert [*parameters][:2] == ["module", "criterion"]
    kinds = {p.kind for p in parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds
    assert inspect.Parameter.VAR_POSITIONAL not in kinds
    assert parameters["module"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert parameters["lr"].kind is inspect.Parameter.KEYWORD_ONLY
    assert set(parameters) == set(TorchClassifier().get_params())
    assert set(RULES) <= set(parameters) | set(inspect.signature(TorchRegressor).parameters)
    assert not {c for c in COMPONENTS if c.startswith("iterator")} & set(parameters)


class Sharper(TorchClassifier):
    """Parameters of its own, beside some of its base."""

    def __init__(self, sharpness=1, *, lr=0.5, **component_parameters):
        super().__init__(lr=lr, **component_parameters)
        self.sharpness = sharpness


class Sharpest(Sharper):
    """No constructor of its own."""


class OfAnyNumber(TorchClassifier):
    def __init__(self, *layers):
        super().__init__()
        self.layers = layers


@pytest.mark.parametrize("kind", [Sharper, Sharpest])
def test_a_subclass_has_the_parameters_of_its_own_constructor(kind):
    n_inherited = len(TorchClassifier().get_params())
    for _ in range(2):
        assert kind(module__hidden=(3,)).get_params() == {
            "sharpness": 1,
            "lr": 0.5,
            "module__hidden": (3,),
        }
        assert len(TorchClassifier().get_params()) == n_inherited
    changed = clone(kind(2)).set_params(sharpness=3)
    assert changed.get_params() == {"sharpness": 3, "lr": 0.5}
    with pytest.raises(ValueError, match="no parameter 'max_epochs'"):
        changed.set_params(max_epochs=3)


def test_names_of_parameters_are_the_callers_to_change():
    TorchClassifier._get_param_names().clear()
    assert "lr" in TorchClassifier().get_params()


def test_a_subclass_with_varargs_is_refused_as_scikit_learn_does():
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no varargs"):
            OfAnyNumber().get_params()


# Values

BAD_VALUES = {
    "criterion": [None, [1]],
    "optimizer": [None, 3],
    "lr_schedule": [3],
    "initializer": [3],
    "validation": [0.2, 5, ([1],), [[1], [2]]],
    "scoring": [3],
    "monitor": [3],
    "augment": ["flip", 3],
    "scale_target": [2, "yes", None],
    "callbacks": [3, "checkpoint"],
    "lr": [0, -1, math.nan, "fast", None],
    "max_epochs": [-3, 1.5, "many", None],
    "batch_size": [0, -1, 2.0, None, "auto"],
    "early_stopping": [2, -1, "yes", None],
    "validation_fraction": [0, 1, -0.1, 1.5, math.nan, None],
    "n_iter_no_change": [0, -1, math.nan, None],
    "tol": [math.nan, None, "small"],
    "warm_start": [2, "yes", None],
    "checkpoint": [True, 3, b"file"],
    "checkpoint_every": [0, 0.5, None, "epoch"],
    "verbose": [-1, 0.5, None],
    "precision": ["double", 32, None],
    "compile": ["yes", None],
    "gradient_clip": [0, -1.0, "one"],
    "gradient_accumulation": [0, 1.5, None],
    "data_placement": ["gpu", None],
}


def test_every_rule_has_bad_values():
    assert BAD_VALUES.keys() == RULES.keys()


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in BAD_VALUES for value in BAD_VALUES[name]]
)
def test_a_bad_value_is_named_with_what_is_expected(name, value, data):
    kind = TorchRegressor if name == "scale_target" else TorchClassifier
    estimator = kind(**{name: value})
    with pytest.raises(ValueError) as failure:  # noqa: PT011 - the whole message follows
        estimator.fit(*data)
    expected = RULES[name][1]
    assert str(failure.value) == f"{name} must be {expected}, got {value!r}. Change {name}."
    declared = {"classes": [0, 1]} if kind is TorchClassifier else {}
    with pytest.raises(ValueError, match=f"^{name} must be"):
        estimator.partial_fit(*data, **declared)
    assert not hasattr(estimator, "codec_")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"criterion": "hinge"}, "criterion='hinge' is not known. Did you mean 'hinge_embedding'"),
        ({"optimizer": "adamm"}, "optimizer='adamm' is not known. Did you mean 'adam'"),
        ({"lr_schedule": "cosinus"}, "lr_schedule='cosinus' is not known. Did you mean 'cosine'"),
        ({"initializer": "kaiming"}, "initializer='kaiming' is not known"),
        ({"scoring": "accurate"}, "'accurate' is not a valid scoring value"),
        ({"scoring": "valid_accuracy"}, "scoring='valid_accuracy' needs rows to validate on"),
        ({"monitor": "valid_loss"}, r"'valid_loss' is not recorded; expected one of \['train_loss"),
    ],
)
def test_an_unknown_name_is_told(parameters, message, data):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        TorchClassifier(**parameters).fit(*data)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr", np.float32(0.1)),
        ("lr", 1),
        ("max_epochs", np.int64(2)),
        ("batch_size", np.int32(4)),
        ("batch_size", 10**9),
        ("early_stopping", np.bool_(True)),
        ("early_stopping", 1),
        ("warm_start", np.bool_(False)),
        ("validation_fraction", np.float64(0.2)),
        ("n_iter_no_change", math.inf),
        ("tol", -math.inf),
        ("tol", -1),
        ("tol", 0),
        ("verbose", False),
        ("random_state", np.int64(3)),
        ("random_state", np.random.RandomState(0)),
    ],
)
def test_a_good_value_is_taken(name, value, data):
    fitted = quick(**{name: value}).fit(*data)
    assert 1 <= fitted.n_epochs_ <= 2


def test_what_a_grid_of_numpy_arrays_holds_is_taken(data):
    grid = {"early_stopping": np.array([True, False]), "module__hidden": np.array([3, 5])}
    search = GridSearchCV(quick(), grid, cv=2, error_score="raise").fit(*data)
    assert len(search.cv_results_["params"]) == 4


# Components


def test_parameters_arrive_at_the_module(data):
    fitted = quick(module__hidden=(6, 5), module__activation="tanh", module__dropout=0.25).fit(
        *data
    )
    kinds = [type(layer).__name__ for layer in fitted.module_]
    assert kinds == ["Sequential", *["Linear", "Tanh", "Dropout"] * 2, "Linear"]
    assert fitted.module_[4].weight.shape == (5, 6)
    assert quick(module=Own, module__depth=3).fit(*data).module_.layers[2].weight.shape == (4, 4)


def test_what_the_user_gives_is_not_filled_in(data):
    class Recorded(MLP):
        def __init__(self, n_features, n_outputs, input_shape):
            super().__init__(n_features, n_outputs)
            self.seen = n_features, n_outputs, input_shape

    assert quick(module=Recorded).fit(*data).module_.seen == (4, 2, (4,))
    assert quick(module=Recorded, module__input_shape="mine").fit(*data).module_.seen[2] == "mine"


def test_parameters_arrive_at_optimizer_and_criterion(data):
    fitted = quick(
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.8,
        optimizer__nesterov=True,
        criterion__label_smoothing=0.2,
        lr=0.03,
    ).fit(*data)
    group = fitted.optimizer_.param_groups[0]
    assert (group["lr"], group["momentum"], group["nesterov"]) == (0.03, 0.8, True)
    assert fitted.net_.criterion_.label_smoothing == 0.2


def test_parameter_groups_by_pattern(data):
    groups = [("*.bias", {"weight_decay": 0.0}), ("1.*", {"lr": 0.5})]
    fitted = quick(optimizer__param_groups=groups, optimizer__weight_decay=0.1, lr=0.01).fit(*data)
    by_parameter = {
        id(parameter): group
        for group in fitted.optimizer_.param_groups
        for parameter in group["params"]
    }
    found = {
        name: (by_parameter[id(parameter)]["lr"], by_parameter[id(parameter)]["weight_decay"])
        for name, parameter in fitted.module_.named_parameters()
    }
    assert found == {
        "1.bias": (0.01, 0.0),
        "3.bias": (0.01, 0.0),
        "1.weight": (0.5, 0.1),
        "3.weight": (0.01, 0.1),
    }
    assert clone(fitted).get_params()["optimizer__param_groups"] == groups


def test_a_learning_rate_of_its_own_survives_a_warm_start(data):
    # The group has its own rate; a change of lr is for the others.
    fitted = quick(optimizer__param_groups=[("1.*", {"lr": 0.5})], warm_start=True, lr=0.01)
    fitted.fit(*data).set_params(lr=0.002).fit(*data)
    assert sorted(group["lr"] for group in fitted.optimizer_.param_groups) == [0.002, 0.5]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"module": MLP(4, 2), "module__hidden": 3},
            "module__hidden given.*Pass the class instead",
        ),
        (
            {"criterion": nn.CrossEntropyLoss(), "criterion__label_smoothing": 0.1},
            "criterion__label_smoothing given.*Pass the class instead",
        ),
        ({"module__activation": "rolu"}, "activation='rolu' is not known"),
        ({"module__hidden": (0,)}, "positive layer widths"),
        ({"callbacks__nobody__x": 1}, "callbacks__nobody|nobody"),
    ],
)
def test_wrong_component_parameters(parameters, message, data):
    # Whether they fit an instance is told at fit, or at once: both are good.
    def build_and_fit():
        quick(**parameters).fit(*data)

    with pytest.raises((TypeError, ValueError), match=message):
        build_and_fit()


# Iterators


class Heights(nn.Linear):
    """Notes the rows of each training batch."""

    def __init__(self):
        super().__init__(4, 2)
        self.seen = []

    def forward(self, X):
        if self.training:
            self.seen.append(X[:, 0].tolist())
        return super().forward(X)


def seen_rows(X, y, **parameters):
    """Per training batch, the rows of X that were in it."""
    settings = {"max_epochs": 1, "batch_size": 8, "random_state": 0, "device": "cpu"}
    fitted = TorchClassifier(Heights(), **(settings | parameters)).fit(X, y)
    position = {value: row for row, value in enumerate(X[:, 0].tolist())}
    return [[position[value] for value in batch] for batch in fitted.module_.seen]


ORDER = [
    ({"iterator_train__shuffle": False}, [8, 8, 8, 6]),
    ({"iterator_train__shuffle": False, "iterator_train__num_workers": 0}, [8, 8, 8, 6]),
    ({"iterator_train__shuffle": False, "iterator_train__drop_last": True}, [8, 8, 8]),
    (
        {
            "iterator_train__shuffle": False,
            "iterator_train__drop_last": True,
            "iterator_train__num_workers": 0,
        },
        [8, 8, 8],
    ),
    ({"iterator_train__shuffle": False, "iterator_train__batch_size": 12}, [12, 12, 6]),
    ({"iterator_train__sampler": SequentialSampler(range(30))}, [8, 8, 8, 6]),
    (
        {"iterator_train__sampler": SequentialSampler(range(30)), "iterator_train__num_workers": 0},
        [8, 8, 8, 6],
    ),
    ({"iterator_train__batch_sampler": [range(0, 20), range(20, 30)]}, [20, 10]),
]


@pytest.mark.parametrize(("parameters", "sizes"), ORDER)
def test_rows_in_order(parameters, sizes, data):
    batches = seen_rows(*data, **parameters)
    assert [len(batch) for batch in batches] == sizes
    assert [row for batch in batches for row in batch] == list(range(sum(sizes)))


def test_a_loader_shuffles_as_the_batches_do(data):
    plain = seen_rows(*data)
    assert sorted(row for batch in plain for row in batch) == list(range(30))
    assert plain != seen_rows(*data, random_state=1)
    assert seen_rows(*data, iterator_train__num_workers=0) == plain


def test_a_weighted_sampler_draws_what_it_weighs(data):
    weights = torch.zeros(30)
    weights[[3, 4, 5]] = 1.0
    sampler = WeightedRandomSampler(weights, 40)
    batches = seen_rows(*data, iterator_train__sampler=sampler)
    drawn = [row for batch in batches for row in batch]
    assert len(drawn) == 40
    assert set(drawn) == {3, 4, 5}
    assert batches == seen_rows(*data, iterator_train__sampler=sampler), "random_state fixes it"
    assert batches != seen_rows(*data, iterator_train__sampler=sampler, random_state=1)


def test_a_sampler_of_some_rows_with_weights(data):
    X, y = data
    fitted = quick(iterator_train__sampler=SubsetRandomSampler([0, 1, 2, 3]), batch_size=3)
    fitted.fit(X, y, sample_weight=np.arange(1, 31))
    assert [b["train_batch_size"] for b in fitted.history_[0, "batches"]] == [3, 1]


def test_validation_has_its_own_batches(data):
    fitted = quick(
        early_stopping=True, validation_fraction=0.5, iterator_valid__batch_size=4, batch_size=6
    ).fit(*data)
    batches = fitted.history_[0, "batches"]
    assert [b["train_batch_size"] for b in batches if "train_batch_size" in b] == [6, 6, 3]
    assert [b["valid_batch_size"] for b in batches if "valid_batch_size" in b] == [4, 4, 4, 3]
    reference = quick(early_stopping=True, validation_fraction=0.5, batch_size=6).fit(*data)
    np.testing.assert_allclose(
        fitted.history_[:, "valid_loss"], reference.history_[:, "valid_loss"], rtol=1e-6
    )


def test_worker_processes_give_the_same_model(data):
    X, y = data
    plain = quick(max_epochs=1).fit(X, y)
    workers = quick(max_epochs=1, iterator_train__num_workers=1).fit(X, y)
    np.testing.assert_array_equal(plain.predict_proba(X), workers.predict_proba(X))


def test_dropping_the_only_batch_is_refused(data):
    with pytest.raises(ValueError, match=r"drop_last.*batch_size|batch_size.*drop_last"):
        quick(batch_size=100, iterator_train__drop_last=True).fit(*data)
