"""Several copies of a module in one, each with weights of its own."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from sktorch.modules._layers import positive


class Ensemble(nn.Module):
    """Several copies of a module, which are initialised and trained each on its own, in one.

    Their weights are stacked, so that each layer of all members is one operation. `TorchClassifier`
    and `TorchRegressor` train the mean of the members' losses, and average what the members
    predict: probabilities, or numbers in the scale of y (deep ensembles, Lakshminarayanan, Pritzel
    and Blundell, "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles",
    2017, arXiv:1612.01474).

    Parameters
    ----------
    module : nn.Module subclass, or a function that returns a module
        Called once for each member.
    n_members : int, default=8
        Number of members.
    n_features, n_outputs, input_shape, cardinalities, dtype, input_mean, input_scale : default=None
        Handed to ``module`` where it takes them. The estimators fill them in from the data.
    **parameters
        Other parameters of ``module``: ``module__hidden=(64,)`` in an estimator.

    Attributes
    ----------
    n_members : int
        The estimators read outputs of shape (n_samples, n_members, ...) as those of members where
        a module has this attribute, so that one of your own may have it, too.
    member : nn.Module
        A member whose parameters and buffers are those of all, along a first dimension.

    Raises
    ------
    ValueError
        If ``n_members`` is not a positive whole number, or members differ in their parameters.
    TypeError
        If ``module`` is an instance: its copies would all be the same.

    Notes
    -----
    The members' batches are the same. A member's gradients are divided by `n_members`: with Adam it
    learns as it would alone, with SGD multiply ``lr`` by `n_members`. For members with rows of
    their own, train several fits under ``joblib.parallel_config("sktorch")``, as those of
    `sklearn.ensemble.BaggingClassifier` are. Layers have to be such that `torch.func.vmap` can
    batch them; recurrent ones are not.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktorch import TorchClassifier
    >>> from sktorch.modules import MLP, Ensemble
    >>> X, y = load_iris(return_X_y=True)
    >>> net = TorchClassifier(Ensemble, module__module=MLP, module__n_members=4, lr=0.01)
    >>> net.fit(X, y).predict_proba(X).shape
    (150, 3)
    """

    def __init__(
        self,
        module,
        n_members=8,
        n_features=None,
        n_outputs=None,
        input_shape=None,
        cardinalities=None,
        dtype=None,
        input_mean=None,
        input_scale=None,
        **parameters,
    ):
        super().__init__()
        if isinstance(module, nn.Module) or not callable(module):
            raise TypeError(
                f"module={module!r} of Ensemble must be an nn.Module subclass or a function that "
                "returns a module with weights of its own at each call. Pass the class."
            )
        self.n_members = positive("n_members", n_members)
        if not _takes(module, "dtype"):  # then its layers are of torch's default
            input_mean, input_scale = _as_default(input_mean), _as_default(input_scale)
        from_data = {
            "n_features": n_features,
            "n_outputs": n_outputs,
            "input_shape": input_shape,
            "cardinalities": cardinalities,
            "dtype": dtype,
            "input_mean": input_mean,
            "input_scale": input_scale,
        }
        parameters |= {
            name: value
            for name, value in from_data.items()
            if value is not None and _takes(module, name)
        }
        self.member = _stacked([module(**parameters) for _ in range(self.n_members)])

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """Return the members' outputs for a batch, of shape (n_samples, n_members, ...)."""
        if torch.compiler.is_exporting() or torch.jit.is_tracing():  # ONNX knows no vmap.
            state = self._state()
            members = [
                self._call({path: stack[number] for path, stack in state.items()}, inputs, named)
                for number in range(self.n_members)
            ]
            return torch.stack(members, dim=1)
        return self._batched(None)(self._state(), inputs, named)

    def forward_apart(self, *inputs: Any) -> Tensor:
        """Return each member's outputs for rows of its own.

        Parameters
        ----------
        *inputs : tensors of shape (n_members, n_samples, ...)
            The rows of each member.

        Returns
        -------
        outputs : tensor of shape (n_samples, n_members, ...)
        """
        return self._batched(0)(self._state(), inputs, {})

    def _batched(self, rows: int | None) -> Callable[..., Tensor]:
        """Return a call of all members, whose rows are stacked along a dimension, or are shared."""
        return vmap(self._call, in_dims=(0, rows, None), out_dims=1, randomness="different")

    def _state(self) -> dict[str, Tensor]:
        return {path: stack for *_, path, stack in _tensors(self.member)}

    def _call(self, state: dict[str, Tensor], inputs: Any, named: dict[str, Any]) -> Tensor:
        # A layer that stands at two places is one entry, two that share a weight are two.
        output = functional_call(self.member, state, inputs, named, tie_weights=False)
        return output.unsqueeze(-1) if output.ndim == 1 else output

    def extra_repr(self) -> str:
        """Return what the layer's text shows."""
        return f"n_members={self.n_members}"


def _takes(module: Callable, name: str) -> bool:
    """Say whether a class or function has a parameter of this name."""
    try:
        return name in inspect.signature(module).parameters
    except (TypeError, ValueError):  # Python can't tell them.
        return False


def _as_default(statistic: Any) -> Any:
    """Return a statistic of the inputs in torch's default dtype, None as it is."""
    return (
        None if statistic is None else torch.as_tensor(statistic, dtype=torch.get_default_dtype())
    )


def _stacked(members: list[nn.Module]) -> nn.Module:
    """Return the first of several modules, its tensors replaced by those of all."""
    tensors = [[*_tensors(member)] for member in members]
    shapes = [[(path, tensor.shape) for *_, path, tensor in own] for own in tensors]
    if any(own != shapes[0] for own in shapes):
        raise ValueError("The members of an Ensemble differ in their parameters. Change module.")
    stacks: dict[int, Tensor] = {}  # Layers may share a parameter.
    for entries in zip(*tensors, strict=True):
        layer, name, _, tensor = entries[0]
        if id(tensor) not in stacks:
            stack = torch.stack([entry[-1].detach() for entry in entries])
            is_parameter = isinstance(tensor, nn.Parameter)
            stacks[id(tensor)] = (
                nn.Parameter(stack, tensor.requires_grad) if is_parameter else stack
            )
        setattr(layer, name, stacks[id(tensor)])
    return members[0]


def _tensors(module: nn.Module) -> list[tuple[nn.Module, str, str, Tensor]]:
    """Return the layer, the name there, the path and the value of each parameter and buffer."""
    return [
        (layer, name, f"{prefix}.{name}" if prefix else name, tensor)
        for prefix, layer in module.named_modules()
        for named in (layer.named_parameters, layer.named_buffers)
        for name, tensor in named(recurse=False, remove_duplicate=False)
    ]
