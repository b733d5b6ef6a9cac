"""Nets for an estimator: new ones, and those whose training goes on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import nn

from sktorch._callbacks import copies_of_callbacks
from sktorch._components import (
    STATISTICS,
    accepts,
    check_number_of_inputs,
    criterion_factory,
    is_required,
    module_factory,
    parameters_of,
)
from sktorch._doubts import doubts
from sktorch._errors import errors_name
from sktorch._net import Net, call, params_differ
from sktorch._part import Part
from sktorch._trial_call import is_plain, try_loss
from sktorch._warnings import warn_caller
from sktorch.data.dtypes import cast_inputs
from sktorch.data.moments import mean_and_scale
from sktorch.data.source import n_inputs
from sktorch.data.structure import n_rows_of, tree_leaves
from sktorch.losses.adapters import MembersLoss
from sktorch.targets.members import has_members, of_members
from sktorch.targets.own import OwnLoss
from sktorch.training.optimizer_names import optimizer_class
from sktorch.training.randomness import RandomStream

_COMPONENTS = ("module", "criterion", "optimizer", "callbacks")


def module_of(estimator: BaseEstimator) -> Any:
    """Return the module that an estimator was given, or its default."""
    return estimator._default_module if estimator.module is None else estimator.module


def build_net(estimator: BaseEstimator, part: Part, device: torch.device, seed: int) -> Net:
    """Return a net with new weights; its random numbers are those that follow ``manual_seed``."""
    module = module_of(estimator)
    criterion, prototype = _criterion(estimator, seed)
    codec, example = estimator.codec_, part.source.example
    codec.check_criterion(prototype)
    estimator._fit_codec(part)
    check_number_of_inputs(module, estimator.input_shape_)
    parameters = {name: estimator._component_parameters(name) for name in _COMPONENTS}
    factory = module_factory(module, parameters["module"])
    if not isinstance(module, nn.Module):
        given, dtype = parameters["module"], _floating_dtype(example, device)
        from_data = _known_from_data(estimator, codec.n_outputs(prototype), dtype)
        if _asks_for_statistics(module, given) and "n_features" in from_data:
            # A module that can't be told its dtype has torch's default, and so have its statistics.
            own = given.get("dtype", dtype) if accepts(module, "dtype") else None
            from_data |= _statistics(part, own or torch.get_default_dtype(), seed)
        parameters["module"] = _filled_in(module, given, from_data, estimator)
    net = estimator._net_class(
        module=factory,
        criterion=criterion,
        optimizer=optimizer_class(estimator.optimizer),
        lr=parameters["optimizer"].pop("lr", estimator.lr),
        max_epochs=estimator.max_epochs,
        batch_size=estimator.batch_size,
        train_split=None,
        callbacks=copies_of_callbacks(estimator.callbacks or []),
        device=str(device),
        verbose=estimator.verbose,
        **{
            f"{component}__{name}": value
            for component, values in parameters.items()
            for name, value in values.items()
        },
    )
    net.codec_, net.source_, net.initializer_ = codec, part.source, estimator.initializer
    net.arguments_ = part.source.settings.arguments
    net.built_from_ = _net_parameters(estimator)
    net.inference_options_ = estimator._inference_options()
    net.stream_ = RandomStream(seed, device)
    net.precision_ = estimator.precision
    net.stream_.run(net.initialize)
    del net.source_
    _read_members(estimator, net)
    for name in STATISTICS:  # The module has them now: no file needs them twice.
        net.__dict__.pop(f"module__{name}", None)
    _tell_casts(net, part)
    _try_loss(net, part, seed)
    for doubt in doubts(net, part):
        warn_caller(doubt)
    return net


def resume_net(estimator: BaseEstimator, seed: int) -> Net:
    """Return the fitted net with settings that changed since; warn of those that come too late."""
    net = estimator.net_
    changed = [
        name
        for name, value in _net_parameters(estimator).items()
        if params_differ(value, net.built_from_.get(name))
    ]
    if changed:
        warn_caller(
            f"{', '.join(sorted(changed))} changed since the first fit, and training goes on "
            "with the net that was made then. Set warm_start=False and fit to make a new one."
        )
    if torch.device(net.device) != net.stream_.device:  # unpickled without its GPU
        net.stream_ = RandomStream(seed, torch.device(net.device))
    parameters = estimator._component_parameters("optimizer")
    net.set_optimizer(optimizer_class(estimator.optimizer), estimator.lr, parameters)
    net.precision_ = estimator.precision
    return net


def _net_parameters(estimator: BaseEstimator) -> dict[str, Any]:
    """Return the parameters that a net is made of, and keeps."""
    names = ("module", "criterion", "initializer", "device", "callbacks", "scale_target")
    components = ("module", "criterion", "callbacks")
    return {name: getattr(estimator, name) for name in names if hasattr(estimator, name)} | {
        f"{component}__{name}": value
        for component in components
        for name, value in estimator._component_parameters(component).items()
    }


def _criterion(estimator: BaseEstimator, seed: int) -> tuple[Callable, nn.Module]:
    """Return a criterion factory and one instance to inspect."""
    codec = estimator.codec_
    given = estimator._given_criterion() or codec.default_criterion
    codec.check_criterion(given)
    parameters = estimator._component_parameters("criterion")
    factory = criterion_factory(given, parameters, codec.criterion_adapter(given))
    stream = RandomStream(seed, torch.device("cpu"))  # A loss with parameters draws them.
    with errors_name("criterion", parameters):
        is_own = getattr(given, "__module__", "").startswith(("torch.", "sktorch."))
        run = stream.run_in_torch if is_own else stream.run
        return factory, run(factory, **parameters)


def _known_from_data(
    estimator: BaseEstimator, n_outputs: int | None, dtype: torch.dtype
) -> dict[str, Any]:
    """Return the constructor parameters of a module that the data decide."""
    shape = estimator.input_shape_
    known = {"input_shape": shape, "dtype": dtype}
    if n_outputs is not None:
        known["n_outputs"] = n_outputs
    if not isinstance(shape, dict) and None not in shape and n_inputs(shape) == 1:
        n_features = int(np.prod(shape))
        known["n_features"] = n_features
        known["cardinalities"] = estimator.cardinalities_ or (0,) * n_features
    return known


def _asks_for_statistics(module: Callable, given: dict[str, Any]) -> bool:
    """Say whether a module's constructor takes statistics of the data that the user left out."""
    return any(accepts(module, name) and name not in given for name in STATISTICS)


def _statistics(part: Part, dtype: torch.dtype, seed: int) -> dict[str, torch.Tensor]:
    """Return mean and scale of the inputs of the rows to train on."""
    source = part.source
    run = RandomStream(seed, torch.device("cpu")).run if source.runs_user_code else call
    statistics = run(mean_and_scale, source, part.index, part.weights, dtype)
    return dict(zip(STATISTICS, statistics, strict=True))


def _filled_in(
    module: Callable, given: dict[str, Any], from_data: dict[str, Any], estimator: BaseEstimator
) -> dict[str, Any]:
    """Return the module's parameters, those filled in from the data that the user left out."""
    known = parameters_of(module) or {}
    required = "n_features" in known and is_required(known["n_features"])
    if required and "n_features" not in from_data | given:
        raise ValueError(
            f"module {module} takes n_features, but samples of shape {estimator.input_shape_} have "
            "no fixed number of values in one array. Choose a module that takes input_shape, such "
            "as sktorch.modules.RecurrentNet for sequences, or give module__n_features. Where "
            "samples of a dataset hold their targets, leave y out: with y, every part is an "
            "input."
        )
    return {name: value for name, value in from_data.items() if name in known} | given


def _read_members(estimator: BaseEstimator, net: Net) -> None:
    """Let loss and codec read outputs of several members, if the module has some."""
    if has_members(net.module_, net.example_output_) and not isinstance(net.codec_, OwnLoss):
        net.criterion_ = MembersLoss(net.criterion_)
        estimator.codec_ = net.codec_ = of_members(net.codec_)


def _tell_casts(net: Net, part: Part) -> None:
    """Warn of inputs that the module takes as floats only, though they are something else."""
    source = part.source
    names = cast_inputs(source.example, net.input_dtypes_) if source.keeps_integers else []
    if names:
        warn_caller(
            f"The module does not take {' and '.join(names)} as integers or booleans: floats are "
            "made of them. Pass floats, or let the module's forward convert them."
        )


def _try_loss(net: Net, part: Part, seed: int) -> None:
    """Raise if output, target and criterion don't fit, before anything is trained."""
    output, codec = net.example_output_, net.codec_
    if not isinstance(output, torch.Tensor) and not isinstance(codec, OwnLoss):
        raise TypeError(
            f"module {type(net.module_).__name__} returned {type(output).__name__}; expected one "
            "tensor of logits, of shape (n_rows, n_outputs). Return just that from its forward, or "
            "give the criterion a method predict(output) that makes predictions of such outputs."
        )
    codec.check_output(net.criterion_, output, net.n_example_rows_)
    stream = RandomStream(seed, torch.device(net.device))
    run = stream.run_in_torch if is_plain(net.criterion_) else stream.run
    target = codec.target(net.criterion_, part.y[: n_rows_of(output)], output)
    run(try_loss, net, part.source.example, target, weighted=part.weights is not None)


def _floating_dtype(example: Any, device: torch.device) -> torch.dtype:
    """Return float64 for float64, as scikit-learn's networks do, else float32."""
    is_double = any(x.dtype in (torch.float64, np.float64) for x in tree_leaves(example))
    return torch.float64 if is_double and device.type != "mps" else torch.float32
