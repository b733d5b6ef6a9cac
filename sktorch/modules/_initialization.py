"""Initialisation of a module's parameters, by name or function."""

import inspect
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from sktorch.modules._ensemble import Ensemble
from sktorch.modules._layers import unknown_name

Owners = dict[str, tuple[nn.Module, nn.Parameter]]
Nonlinearity = tuple[Any, float | None]  # arguments of torch.nn.init.calculate_gain

# Every function of torch.nn.init that works in place; "constant" needs a value, which a name lacks.
INITIALIZERS = {
    name[:-1]: function
    for name, function in inspect.getmembers(nn.init, inspect.isfunction)
    if name.endswith("_") and not name.startswith("_") and name != "constant_"
}
_OF_MATRICES = {
    *("xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal"),
    *("orthogonal", "sparse", "dirac", "eye"),
}
_NORMALIZATIONS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.LayerNorm, nn.GroupNorm, nn.RMSNorm),
)
_SPARSITY = 0.1  # The only argument without a default in any of them, apart from the tensor.

_WEIGHT_LAYERS = (
    nn.Linear,
    nn.Bilinear,
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    nn.RNNBase,
    nn.RNNCellBase,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.MultiheadAttention,
)
# Names of the activations in torch.nn.init.calculate_gain. An activation that it does not know has
# the name of the activation it resembles.
_NONLINEARITIES: dict[type[nn.Module], Any] = {
    **dict.fromkeys((nn.Sigmoid, nn.Hardsigmoid), "sigmoid"),
    **dict.fromkeys((nn.Tanh, nn.Hardtanh, nn.Softsign), "tanh"),
    **dict.fromkeys((nn.LeakyReLU, nn.PReLU), "leaky_relu"),
    nn.SELU: "selu",
    **dict.fromkeys((nn.ReLU, nn.ReLU6, nn.ELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish), "relu"),
    **dict.fromkeys((nn.Hardswish, nn.Softplus, nn.RReLU), "relu"),
}


@torch.no_grad()
def initialize(module, initializer):
    """Set a module's parameters, in place.

    Parameters
    ----------
    module : torch.nn.Module
        On any device.
    initializer : str, callable, dict or None
        - A name from ``torch.nn.init`` without its last underscore: "xavier_uniform",
          "kaiming_normal", "orthogonal", "trunc_normal", "sparse" (a tenth of zeros), and so on.
        - A function of a tensor that sets it, or returns a tensor to set it to. It gets nothing
          else; ``functools.partial(torch.nn.init.constant_, val=0.5)`` is one.
        - A dict of patterns of parameter names, as `fnmatch` has them, to either of these, or to
          None, which leaves a parameter as it is. The first pattern that matches counts.
          ``"*.weight"`` matches ``"weight"`` too, a parameter of the module itself.
        - None, which changes nothing.

        A name or function alone sets the weights of linear, convolutional, recurrent, embedding
        and attention layers, and leaves biases and normalization layers as torch set them. So does
        a dict with all that no pattern matches.

    Returns
    -------
    module : torch.nn.Module
        The same.

    Raises
    ------
    ValueError
        If a name is not known, or can't initialise a tensor of that shape; if a pattern sets no
        parameter; if a parameter is lazy and has no shape yet; if there are no such weights, or
        they are made by a parametrization (as of weight norm).
    TypeError
        If ``initializer`` is none of the above.

    Notes
    -----
    The names that know a gain (Xavier's, Kaiming's, orthogonal) get that of the activation that
    follows the layer: the first activation in the order in which the module holds its layers,
    before the next layer with weights. If there is none, as after the last layer, or after a
    recurrent one, whose activations are inside, the gain is that of "linear". Activations that
    `torch.nn.init.calculate_gain` does not know count as the one they resemble: GELU, SiLU, ELU
    as ReLU. A module that holds no activation layer at all, because its ``forward`` calls
    functions instead, gets torch's defaults.

    Names that only matrices can have (Xavier's, Kaiming's, "orthogonal", "sparse", "dirac", "eye")
    leave the vectors of normalization layers alone, though a pattern may match them.

    Random numbers come from torch's default generator of the module's device.

    Examples
    --------
    >>> from torch import nn
    >>> from sktorch.modules import MLP, initialize
    >>> net = initialize(MLP(4, 3), "kaiming_normal")
    >>> net = initialize(net, {"*.weight": "orthogonal", "*.bias": "zeros"})
    >>> net[1].bias.abs().sum()
    tensor(0., grad_fn=<SumBackward0>)
    """
    owners = _owners(module)
    by_name = isinstance(initializer, dict)
    plan = _match(owners, initializer) if by_name else _weights(owners, initializer)
    nonlinearities = _nonlinearities(module)
    ensembles = [layer for layer in module.modules() if isinstance(layer, Ensemble)]
    stacked = {layer for ensemble in ensembles for layer in ensemble.member.modules()}
    for name, chosen in plan.items():
        layer, parameter = owners[name]
        # "*.weight" means the matrices of layers, but the vectors of normalizations match, too.
        is_scale = chosen in _OF_MATRICES and isinstance(layer, _NORMALIZATIONS)
        if chosen is not None and not (by_name and is_scale):
            for own in parameter if layer in stacked else [parameter]:
                _set(name, own, chosen, nonlinearities.get(layer))
                if getattr(layer, "padding_idx", None) is not None:
                    own[layer.padding_idx] = 0.0  # as torch initialises padding
    return module


def _owners(module: nn.Module) -> Owners:
    """Return ``{name: (layer, parameter)}``, with all names of a shared parameter."""
    return {
        f"{prefix}.{name}" if prefix else name: (layer, parameter)
        for prefix, layer in module.named_modules(remove_duplicate=False)
        for name, parameter in layer.named_parameters(recurse=False, remove_duplicate=False)
    }


def _weights(owners: Owners, initializer: Any) -> dict[str, Any]:
    """Return ``{name of a layer's weight: initializer}``."""
    _check(initializer)
    plan, seen = {}, set()
    for name, (layer, parameter) in owners.items():
        is_weight = isinstance(layer, _WEIGHT_LAYERS) and "weight" in name.rpartition(".")[2]
        if is_weight and id(parameter) not in seen:
            seen.add(id(parameter))
            plan[name] = initializer
    parts = [name for name in owners if "parametrizations" in name.split(".")]
    if parts and initializer is not None:
        raise ValueError(
            f"initializer={initializer!r} can't tell what to do with {parts}, of which a "
            "parametrization makes a weight. Initialise first, or name them in a dict of patterns."
        )
    if not plan and initializer is not None:
        raise ValueError(
            f"initializer={initializer!r} finds no weights of linear, convolutional, recurrent, "
            f"embedding or attention layers. Name them in a dict of patterns: {[*owners]}."
        )
    return plan


def _match(owners: Owners, patterns: dict[str, Any]) -> dict[str, Any]:
    """Return ``{parameter's name: initializer}`` by the first pattern that matches each name."""
    for initializer in patterns.values():
        _check(initializer)
    plan, seen, used = {}, set(), set()
    for name, (_, parameter) in owners.items():
        pattern = next((p for p in patterns if _matches(name, p)), None)
        if pattern is not None and id(parameter) not in seen:
            seen.add(id(parameter))
            used.add(pattern)
            plan[name] = patterns[pattern]
    for pattern in patterns:
        if pattern not in used:
            raise ValueError(
                f"initializer: the pattern {pattern!r} sets no parameter: it matches none, or "
                f"patterns before it match the same. The parameters are {[*owners]}."
            )
    return plan


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(f".{name}", pattern)


def _check(initializer: Any) -> None:
    """Raise unless this is a name, a function or None."""
    if isinstance(initializer, str):
        if initializer == "constant":
            raise ValueError(
                "initializer='constant' needs a value: give "
                "functools.partial(torch.nn.init.constant_, val=...)."
            )
        if initializer not in INITIALIZERS:
            raise unknown_name("initializer", initializer, INITIALIZERS, "a function of a tensor")
    elif initializer is not None and not callable(initializer):
        raise TypeError(
            f"initializer={initializer!r} must be a name from torch.nn.init without its last "
            "underscore, a function of a tensor, or a dict of patterns to these."
        )


def _nonlinearities(module: nn.Module) -> dict[nn.Module, Nonlinearity]:
    """Return ``{layer: arguments of calculate_gain}`` by the activation that follows each layer.

    The result is empty if the module holds no activation layer at all.
    """
    found: dict[nn.Module, Nonlinearity] = {}
    current, any_activation = None, False
    for _, layer in module.named_modules(remove_duplicate=False):
        bases = type(layer).__mro__
        nonlinearity = next((_NONLINEARITIES[c] for c in bases if c in _NONLINEARITIES), None)
        holds_activation = isinstance(layer, (nn.RNNBase, nn.RNNCellBase))
        any_activation |= bool(nonlinearity) or holds_activation or isinstance(layer, nn.Identity)
        if isinstance(layer, _WEIGHT_LAYERS):
            found[layer] = ("linear", None)
            current = None if holds_activation else layer
        elif nonlinearity and current is not None:
            found[current] = (nonlinearity, _slope(layer))
            current = None
    return found if any_activation else {}


def _slope(layer: nn.Module) -> float | None:
    """Return the slope of a leaky ReLU for negative inputs; None for other activations."""
    if isinstance(layer, nn.PReLU):
        return float(layer.weight.mean())
    return getattr(layer, "negative_slope", None)


def _set(
    name: str, parameter: nn.Parameter, initializer: Any, nonlinearity: Nonlinearity | None
) -> None:
    """Initialise one parameter."""
    if isinstance(parameter, nn.UninitializedParameter):
        raise ValueError(
            f"initializer: the parameter {name!r} is lazy and has no shape yet. Call the module "
            "on a batch first, or give its layer its number of inputs."
        )
    if not isinstance(initializer, str):
        _set_by_function(name, parameter, initializer)
        return
    function = INITIALIZERS[initializer]
    try:
        function(parameter, **_arguments(function, nonlinearity))
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"initializer={initializer!r} can't initialise {name!r} of shape "
            f"{tuple(parameter.shape)} and {parameter.dtype}: {error}. Give that parameter another "
            "one, or None, by a pattern that comes first in a dict."
        ) from error


def _set_by_function(name: str, parameter: nn.Parameter, function: Callable) -> None:
    values = function(parameter)
    if not isinstance(values, torch.Tensor) or values is parameter:
        return
    if values.shape != parameter.shape:
        raise ValueError(
            f"initializer={function!r} returned shape {tuple(values.shape)} for {name!r} of shape "
            f"{tuple(parameter.shape)}."
        )
    parameter.copy_(values)


def _arguments(function: Callable, nonlinearity: Nonlinearity | None) -> dict[str, Any]:
    """Return the arguments of a function of ``torch.nn.init``, apart from the tensor."""
    known = inspect.signature(function).parameters
    if "sparsity" in known:
        return {"sparsity": _SPARSITY}
    if nonlinearity is None:
        return {}
    kind, slope = nonlinearity
    if "gain" in known:
        return {"gain": nn.init.calculate_gain(kind, slope)}
    if "nonlinearity" in known:
        return {"nonlinearity": kind} | ({} if slope is None else {"a": slope})
    return {}
