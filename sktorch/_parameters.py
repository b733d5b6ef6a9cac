"""Constructor parameters: checks of their values, and those of components (``module__hidden``)."""

import inspect
import os
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from reprlib import repr as shortened
from typing import Any, Self

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sktorch._components import parameters_of
from sktorch._lookup import did_you_mean
from sktorch._private.scikit_learn import ParameterNamesOnce
from sktorch.data.placement import PLACEMENTS
from sktorch.losses.registry import criterion_class
from sktorch.training.named_schedules import schedule_parameters
from sktorch.training.optimizer_names import optimizer_class
from sktorch.training.precision import PRECISIONS

COMPONENTS = (
    "module",
    "criterion",
    "optimizer",
    "lr_schedule",
    "iterator_train",
    "iterator_valid",
    "callbacks",
)
# Names that scikit-learn, skorch, Keras and others have for these parameters.
SYNONYMS = {
    "alpha": "optimizer__weight_decay",
    "clip_grad": "gradient_clip",
    "hidden_layer_sizes": "module__hidden",
    "l2": "optimizer__weight_decay",
    "learning_rate": "lr",
    "learning_rate_init": "lr",
    "loss": "criterion",
    "loss_fn": "criterion",
    "lr_init": "lr",
    "max_iter": "max_epochs",
    "metrics": "scoring",
    "model": "module",
    "momentum": "optimizer__momentum",
    "n_epochs": "max_epochs",
    "net": "module",
    "network": "module",
    "patience": "n_iter_no_change",
    "random_seed": "random_state",
    "seed": "random_state",
    "solver": "optimizer",
    "train_split": "validation",
    "transform": "augment",
    "transforms": "augment",
    "validation_split": "validation_fraction",
}


def is_auto(value: Any) -> bool:
    """Say whether a parameter is left to the estimator."""
    return isinstance(value, str) and value == "auto"


def _is_number(value: Any) -> bool:
    return isinstance(value, Real)


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_positive_integer(value: Any) -> bool:
    return _is_integer(value) and value > 0


def _is_count(value: Any) -> bool:
    return _is_integer(value) and value >= 0


def _is_flag(value: Any) -> bool:
    return isinstance(value, np.bool_ | Integral) and value in (0, 1)  # A bool is an Integral.


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and 0 < value < 1


def _is_named(value: Any) -> bool:
    return isinstance(value, str) or callable(value)


def _is_validation(value: Any) -> bool:
    if isinstance(value, str | Tensor):  # Both have a method `split`, and are no splitter.
        return False
    is_data = isinstance(value, Dataset) or (isinstance(value, tuple) and len(value) in (2, 3))
    return is_data or hasattr(value, "split")


def _instance(*types: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, types)


def _one_of(*values: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in values


def _none_or(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or accepts(value)


# For each parameter: whether a value is in its domain, and the domain in words.
RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "criterion": (
        _is_named,
        "an nn loss class, its name, an instance or a function of two tensors",
    ),
    "optimizer": (_is_named, "a torch.optim.Optimizer subclass or its name"),
    "lr_schedule": (
        _none_or(_is_named),
        "None, a name, a class of torch.optim.lr_scheduler or a function of the optimizer",
    ),
    "initializer": (
        _none_or(lambda value: _is_named(value) or isinstance(value, dict)),
        "None, a name of torch.nn.init, a function of a tensor, or a dict of patterns to them",
    ),
    "augment": (_none_or(callable), "None or a function"),
    "lr": (_is_positive, "a positive number"),
    "max_epochs": (_is_count, "a non-negative integer"),
    "batch_size": (_is_positive_integer, "a positive integer"),
    "early_stopping": (_is_flag, "True or False"),
    "validation_fraction": (_is_fraction, "a number between 0 and 1, both excluded"),
    "validation": (
        _none_or(_is_validation),
        "None, a tuple (X, y) or (X, y, sample_weight), a torch Dataset, or a splitter of "
        "scikit-learn",
    ),
    "scoring": (
        _none_or(lambda value: _is_named(value) or isinstance(value, list | tuple | dict)),
        "None, a scorer or its name, a list of either, or a dict of names to either",
    ),
    "monitor": (_none_or(_instance(str)), "None or a name of a loss or score"),
    "n_iter_no_change": (_is_positive, "a positive integer, or math.inf to never stop early"),
    "tol": (
        lambda value: _is_number(value) and value == value,
        "a number; -math.inf takes any for progress",
    ),
    "callbacks": (_none_or(_instance(list, tuple)), "None or a list of callbacks"),
    "scale_target": (_is_flag, "True or False"),
    "warm_start": (_is_flag, "True or False"),
    "checkpoint": (
        _none_or(lambda value: isinstance(value, str | os.PathLike) and os.fspath(value) != ""),
        "None to write no checkpoints, or a path that is not empty",
    ),
    "checkpoint_every": (_is_positive_integer, "a positive number of epochs"),
    "precision": (_one_of(*PRECISIONS), f"one of {PRECISIONS}"),
    "compile": (_instance(bool, np.bool_, dict), "True, False or a dict for torch.compile"),
    "gradient_clip": (_none_or(_is_positive), "a positive number or None"),
    "gradient_accumulation": (_is_positive_integer, "a positive integer"),
    "data_placement": (_one_of(*PLACEMENTS), f"one of {PLACEMENTS}"),
    "verbose": (_is_count, "a non-negative integer"),
}


class ParameterError(ValueError, TypeError):
    """A parameter is out of its domain, by value or type; scikit-learn's own error is both too."""


def check_parameters(estimator: Any) -> None:
    """Raise for the first parameter that is out of its domain or names something unknown."""
    for name, (accepts, expected) in RULES.items():
        if not hasattr(estimator, name):  # a parameter of the other estimator
            continue
        value = getattr(estimator, name)
        if not accepts(value):
            got = shortened(value)  # It may hold arrays.
            raise ParameterError(f"{name} must be {expected}, got {got}. Change {name}.")
    # Fail on unknown names before building anything.
    optimizer_class(estimator.optimizer)
    if not is_auto(estimator.criterion):
        criterion_class(estimator.criterion)
    if estimator.lr_schedule is not None:
        schedule_parameters(estimator.lr_schedule)


class ComponentParameters(ParameterNamesOnce):
    """An estimator whose parameters include those of its components, such as ``module__hidden``.

    Each is a plain attribute under its full name, where ``get_params`` finds it. ``clone``,
    ``repr`` and pickling build on ``get_params``.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # scikit-learn reads every name in a class's signature as a parameter, the name of the
        # ``**`` argument too.
        signature = inspect.signature(cls.__init__)
        cls.__signature__ = signature.replace(
            parameters=[
                p for p in [*signature.parameters.values()][1:] if p.kind is not p.VAR_KEYWORD
            ]
        )

    def _set_component_parameters(self, parameters: dict[str, Any]) -> None:
        """Set the parameters given to the constructor as ``**component_parameters``."""
        for name, value in parameters.items():
            setattr(self, name, value)
        self._check_component_names(parameters, TypeError)

    def _component_parameters(self, component: str) -> dict[str, Any]:
        """Return the parameters given for a component, by their name in its constructor."""
        prefix = f"{component}__"
        return {
            name.removeprefix(prefix): value
            for name, value in vars(self).items()
            if "__" in name and name.startswith(prefix) and name != prefix
        }

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of this estimator and of its components.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include the parameters of parameters that are estimators.

        Returns
        -------
        params : dict
            Names mapped to values; those of components under ``component__name``.
        """
        of_components = {k: value for k, value in vars(self).items() if _component_of(k)}
        return super().get_params(deep=deep) | of_components

    def set_params(self, **params: Any) -> Self:
        """Set parameters; fitted weights stay as they are until the next ``fit``.

        Parameters
        ----------
        **params : dict
            Names as in ``get_params``.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If a name is unknown. The message suggests the nearest valid name, and no parameter
            is set.
        """
        own = {name: value for name, value in params.items() if _component_of(name) is None}
        components = {name: value for name, value in params.items() if name not in own}
        known = self.get_params(deep=True)
        for name in own:
            if name not in known:
                raise ValueError(self._unknown(name))
        before = self.__dict__.copy()
        try:
            super().set_params(**own)
            for name, value in components.items():
                setattr(self, name, value)
            self._check_component_names(components, ValueError)
        except BaseException:
            self.__dict__ = before
            raise
        return self

    def _check_component_names(self, names: Iterable[str], error: type[Exception]) -> None:
        for name in names:
            component = _component_of(name)
            if component is None or not self._component_accepts(component, name):
                raise error(self._unknown(name))

    def _component_accepts(self, component: str, name: str) -> bool:
        known = self._signature_of(component)
        first = name.removeprefix(f"{component}__").partition("__")[0]
        return known is None or first in known

    def _signature_of(self, component: str) -> tuple[str, ...] | None:
        """Return the names a component's constructor accepts; None where any name may be right."""
        if component == "callbacks":
            return None  # `fit` builds the callbacks, and then knows their names.
        try:
            if component == "lr_schedule":
                return schedule_parameters(self.lr_schedule)
            if component == "criterion" and is_auto(self.criterion):
                return self._criterion_parameters
            target = self._component_class(component)
        except (TypeError, ValueError):  # `fit` raises for an unknown optimizer or criterion.
            return None
        parameters = parameters_of(target) if callable(target) else None
        if parameters is None or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return None
        extra = ("param_groups",) if component == "optimizer" else ()
        return (*parameters, *extra)

    def _component_class(self, component: str) -> Any:
        """Return the class or function that makes a component."""
        if component.startswith("iterator"):
            return DataLoader
        given = getattr(self, component)
        if component == "module":
            return self._default_module if given is None else given
        if component == "optimizer":
            return optimizer_class(given)
        return self._default_criterion if is_auto(given) else criterion_class(given)

    def _unknown(self, name: str) -> str:
        return f"{type(self).__name__} has no parameter {name!r}.{self._suggestion(name)}"

    def _suggestion(self, name: str) -> str:
        own = [p.name for p in self.__signature__.parameters.values()]
        nested = [
            f"{component}__{inner}"
            for component in COMPONENTS
            for inner in self._signature_of(component) or ()
        ]
        same_end = [known for known in nested if known.partition("__")[2] == name]
        prefixes = ", ".join(f"{component}__*" for component in COMPONENTS)
        return (
            did_you_mean(next(iter(same_end), name), own + nested, synonyms=SYNONYMS)
            or f" Valid are {', '.join(own)}, and {prefixes}."
        )


def _component_of(name: str) -> str | None:
    """Return the component that a parameter's name begins with, if any."""
    prefix, _, inner = name.partition("__")
    return prefix if inner and prefix in COMPONENTS else None
