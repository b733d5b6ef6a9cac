"""Constructor parameters: double-underscore names of components, and checks of the others."""

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from numbers import Integral, Real

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sktorch._components import parameters_of
from sktorch._private.scikit_learn import ParameterNamesOnce
from sktorch.data.placement import PLACEMENTS
from sktorch.training.lookup import criterion_class, optimizer_class
from sktorch.training.precision import PRECISIONS
from sktorch.training.schedules import schedule_parameters

COMPONENTS = (
    "module",
    "criterion",
    "optimizer",
    "lr_schedule",
    "iterator_train",
    "iterator_valid",
    "callbacks",
)


def _positive(value):
    return value > 0


_INTEGER = (Integral, _positive, "a positive integer")
_FRACTION = (Real, lambda value: 0 < value < 1, "a number between 0 and 1, both excluded")
_FLAG = ((bool, np.bool_, Integral), lambda value: value in (0, 1), "True or False")


def _is_splitter(value):
    return hasattr(value, "split") and not isinstance(value, str | Tensor)


def _is_data(value):
    return isinstance(value, Dataset) or (isinstance(value, tuple) and len(value) in (2, 3))


def _is_named(value):
    return callable(value) or isinstance(value, str)


def is_auto(value):
    """Whether a parameter is left to the estimator."""
    return isinstance(value, str) and value == "auto"


RULES = {
    "criterion": (
        object,
        _is_named,
        "an nn loss class, its name, an instance or a function of two tensors",
    ),
    "optimizer": (object, _is_named, "a torch.optim.Optimizer subclass or its name"),
    "lr_schedule": (
        object,
        lambda value: value is None or _is_named(value),
        "None, a name, a class of torch.optim.lr_scheduler or a function of the optimizer",
    ),
    "initializer": (
        (str, dict, Callable, type(None)),
        lambda _: True,
        "None, a name of torch.nn.init, a function of a tensor, or a dict of patterns to them",
    ),
    "augment": (object, lambda value: value is None or callable(value), "None or a function"),
    "lr": (Real, _positive, "a positive number"),
    "max_epochs": _INTEGER,
    "batch_size": _INTEGER,
    "early_stopping": _FLAG,
    "validation_fraction": _FRACTION,
    "validation": (
        object,
        lambda value: value is None or _is_splitter(value) or _is_data(value),
        "None, a tuple (X, y) or (X, y, sample_weight), a torch Dataset, or a splitter of "
        "scikit-learn",
    ),
    "scoring": (
        (str, list, tuple, dict, Callable, type(None)),
        lambda _: True,
        "None, a scorer or its name, a list of either, or a dict of names to either",
    ),
    "monitor": ((str, type(None)), lambda _: True, "None or a name of a loss or score"),
    "n_iter_no_change": (Real, _positive, "a positive integer, or math.inf to never stop early"),
    "tol": (Real, lambda value: value == value, "a number; -math.inf takes any for progress"),
    "callbacks": ((list, tuple, type(None)), lambda _: True, "None or a list of callbacks"),
    "scale_target": _FLAG,
    "warm_start": _FLAG,
    "precision": (str, PRECISIONS.__contains__, f"one of {PRECISIONS}"),
    "compile": ((bool, np.bool_, dict), lambda _: True, "True, False or a dict for torch.compile"),
    "gradient_clip": (
        (Real, type(None)),
        lambda value: value is None or value > 0,
        "a positive number or None",
    ),
    "gradient_accumulation": _INTEGER,
    "data_placement": (str, PLACEMENTS.__contains__, f"one of {PLACEMENTS}"),
    "verbose": ((bool, Integral), lambda value: value >= 0, "a non-negative integer"),
}


class ParameterError(ValueError, TypeError):
    """A parameter is out of its domain, by value or type; scikit-learn's own is both as well."""


def check_parameters(estimator):
    """Raise for the first parameter whose value is out of its domain.

    Raises
    ------
    ParameterError
        Names the parameter, its value and what was expected.
    ValueError
        For an optimizer, criterion or schedule whose name is unknown; the nearest is told.
    """
    for name, (types, holds, expected) in RULES.items():
        if not hasattr(estimator, name):  # a parameter of the other estimator
            continue
        value = getattr(estimator, name)
        if not isinstance(value, types) or not holds(value):
            raise ParameterError(f"{name} must be {expected}, got {value!r}. Change {name}.")
    # Names that nothing has are found before anything is made.
    optimizer_class(estimator.optimizer)
    if not is_auto(estimator.criterion):
        criterion_class(estimator.criterion)
    if estimator.lr_schedule is not None:
        schedule_parameters(estimator.lr_schedule)


class ComponentParameters(ParameterNamesOnce):
    """Parameters of components, ``module__hidden``, as parameters of the estimator.

    They are plain attributes under their full name. ``get_params`` finds them by it, and so do
    ``clone``, ``repr`` and pickling, which build on it.
    """

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        # scikit-learn takes every name in a class's signature for a parameter one can set, that of
        # the ``**`` argument among them; the named ones are those that are always there.
        signature = inspect.signature(cls.__init__)
        cls.__signature__ = signature.replace(
            parameters=[
                p for p in [*signature.parameters.values()][1:] if p.kind is not p.VAR_KEYWORD
            ]
        )

    def _set_component_parameters(self, parameters):
        for name, value in parameters.items():
            setattr(self, name, value)
        self._check_component_names(parameters, TypeError)

    def _component_parameter_names(self):
        return [name for name in vars(self) if _component_of(name)]

    def _component_parameters(self, component):
        """The parameters given for one component, by their name within it."""
        prefix = f"{component}__"
        return {
            name.removeprefix(prefix): value
            for name, value in vars(self).items()
            if name.startswith(prefix) and name != prefix
        }

    def get_params(self, deep=True):
        """Parameters of this estimator and of its components.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include the parameters of parameters that are estimators.

        Returns
        -------
        params : dict
            Names mapped to values; those of components under ``component__name``.
        """
        params = super().get_params(deep=deep)
        return params | {name: getattr(self, name) for name in self._component_parameter_names()}

    def set_params(self, **params):
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
            If a name is unknown; the message holds the nearest valid one. Nothing is set then.
        """
        own = {name: value for name, value in params.items() if _component_of(name) is None}
        components = {name: value for name, value in params.items() if name not in own}
        known = self.get_params(deep=True)
        for name in own:
            if name not in known:
                raise ValueError(self._unknown(name))
        before = vars(self).copy()
        try:
            super().set_params(**own)
            for name, value in components.items():
                setattr(self, name, value)
            self._check_component_names(components, ValueError)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise
        return self

    def _check_component_names(self, names, error):
        for name in names:
            component = _component_of(name)
            if component is None or not self._component_takes(component, name):
                raise error(self._unknown(name))

    def _component_takes(self, component, name):
        known = self._signature_of(component)
        first = name.removeprefix(f"{component}__").partition("__")[0]
        return known is None or first in known

    def _signature_of(self, component):
        """Names a component's constructor takes, or None where it can't be told."""
        if component == "callbacks":
            return None  # Their names are known when they are built, in `fit`.
        try:
            if component == "lr_schedule":
                return schedule_parameters(self.lr_schedule)
            if component == "criterion" and is_auto(self.criterion):
                return self._criterion_parameters
            target = self._component_class(component)
        except (TypeError, ValueError):  # An unknown name; `fit` says so.
            return None
        parameters = parameters_of(target) if callable(target) else None
        if parameters is None or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return None
        extra = ("param_groups",) if component == "optimizer" else ()
        return (*parameters, *extra)

    def _component_class(self, component):
        """What a component is made by, where the parameter is a name or left to the estimator."""
        if component.startswith("iterator"):
            return DataLoader
        given = getattr(self, component)
        if component == "module":
            return self._default_module if given is None else given
        if component == "optimizer":
            return optimizer_class(given)
        return self._default_criterion if is_auto(given) else criterion_class(given)

    def _unknown(self, name):
        return f"{type(self).__name__} has no parameter {name!r}.{self._suggestion(name)}"

    def _suggestion(self, name):
        own = [p.name for p in self.__signature__.parameters.values()]
        nested = [
            f"{component}__{inner}"
            for component in COMPONENTS
            for inner in self._signature_of(component) or ()
        ]
        same_end = [known for known in nested if known.partition("__")[2] == name]
        close = same_end or get_close_matches(name, own + nested, n=1, cutoff=0.5)
        if close:
            return f" Did you mean {close[0]!r}?"
        prefixes = ", ".join(f"{component}__*" for component in COMPONENTS)
        return f" Valid are {', '.join(own)}, and {prefixes}."


def _component_of(name):
    if "__" not in name:
        return None
    prefix, _, inner = name.partition("__")
    return prefix if inner and prefix in COMPONENTS else None
