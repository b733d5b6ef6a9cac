"""Models of one structure as one: parameters, buffers and optimizer states stacked.

Stacking copies, and unstacking copies back: a few microseconds a model, against a hundred for each
of its batches. In return every module and optimizer owns its tensors whenever somebody looks.
"""

import copy
from functools import partial
from itertools import chain, groupby
from weakref import ReferenceType

import torch
from torch import nn

from sktorch._private.torch import (
    RECURRENT_ALIASES,
    mark_stepped,
    module_has_hooks,
    optimizer_has_hooks,
    tensor_has_hooks,
    version,
    wrapped_by_schedule,
)
from sktorch.data.structure import call_module
from sktorch.losses.adapters import LossFunction

# Their updates are elementwise: what they do to a stack, they do to each of its models.
ELEMENTWISE = {
    getattr(torch.optim, name)
    for name in (
        "SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam",
        "ASGD", "Rprop",
    )
}  # fmt: skip
# Entries of their states that are one number a model, rather than one an element.
_COUNTERS = {"step", "mu_product", "eta", "mu"}
_PLAIN = {bool, int, float, str, bytes, complex, torch.dtype, torch.device, type(None)}
# What torch keeps in every module, and `fingerprint` looks at in its own way.
_OF_TORCH = vars(nn.Module()).keys()


class Objective(nn.Module):
    """A module and its criterion: from a batch to the loss and the output."""

    def __init__(self, module, criterion):
        super().__init__()
        self.module, self.criterion = module, criterion

    def forward(self, X, y, weight=None):
        """Loss and output."""
        output = call_module(self.module, X)
        return LossFunction(self.criterion)(output, y, weight), output


def skeleton(objective):
    """A copy without memory for parameters and buffers, to be called with those of a stack."""
    copies = {}
    for parameter in objective.parameters():
        copies[id(parameter)] = nn.Parameter(parameter.to("meta"), parameter.requires_grad)
    for buffer in objective.buffers():
        copies[id(buffer)] = buffer.to("meta")
    return copy.deepcopy(objective, copies)


class NotStackable(Exception):
    """A model can't be compared with others; the message says why."""


def fingerprint(value, registered=()):
    """What two objects have to share to be computed by the same code, hashable.

    Modules: classes, names, shapes, dtypes and all attributes but the values of their parameters
    and buffers.

    Parameters
    ----------
    value : object
    registered : dict of int to str, default=()
        Ids and names of layers and parameters that a module may hold in its attributes once more,
        as recurrent ones do.

    Raises
    ------
    NotStackable
        If something is found that can't be compared.
    """
    if type(value) in _PLAIN:
        return type(value), value
    inner = partial(fingerprint, registered=registered)
    if id(value) in registered:
        return "registered", registered[id(value)]
    if isinstance(value, nn.Module):
        if registered and next(chain(value.parameters(), value.buffers()), None) is not None:
            raise NotStackable(f"it holds a {type(value).__name__} that is not registered")
        return _of_module(value)
    if isinstance(value, ReferenceType):
        return inner(value())
    if isinstance(value, dict):
        return tuple((name, inner(entry)) for name, entry in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return type(value), *map(inner, value)
    if isinstance(value, partial):
        return value.func, inner(value.args), inner(value.keywords)
    is_plain = isinstance(value, (*_PLAIN, type))
    if is_plain or (callable(value) and hasattr(value, "__code__")):
        return type(value), value
    if callable(value) and getattr(value, "__module__", "").startswith("torch"):
        return value
    raise NotStackable(f"it holds a {type(value).__name__}")


def _of_module(module):
    tensors = [*module.named_parameters(), *module.named_buffers()]
    for name, tensor in tensors:
        if tensor_has_hooks(tensor):
            raise NotStackable(f"{name} has hooks")
    layers = [*module.named_modules()]
    registered = {id(part): name for name, part in layers + tensors}
    parts = []
    for name, layer in layers:
        if module_has_hooks(layer):
            raise NotStackable(f"its {type(layer).__name__} has hooks")
        left_out = _OF_TORCH | (RECURRENT_ALIASES if isinstance(layer, nn.RNNBase) else set())
        own = {key: vars(layer)[key] for key in sorted(vars(layer).keys() - left_out)}
        parts.append((name, type(layer), layer.training, fingerprint(own, registered)))
    return tuple(parts), tuple(
        (name, tuple(t.shape), t.dtype, t.device, t.requires_grad) for name, t in tensors
    )


class Stack:
    """Parameters and buffers of several objectives, and an optimizer that steps them all.

    Parameters
    ----------
    objectives : list of Objective
        Of one fingerprint.
    optimizers : list of torch.optim.Optimizer, default=None
        One each, of one class of `ELEMENTWISE`.
    settings : list, default=None
        The optimizers' settings; neighbours with the same share a group. None if each is to have
        groups of its own, so that its settings can change (`renew_settings`).
    width : int, default=None
        Number of rows of the stack, where it is to have more than objectives: further rows are like
        the first one, and nobody's.

    Attributes
    ----------
    trained, fixed, buffers : dict of str to torch.Tensor
        Stacked along a new first dimension.
    gradients : dict of str to torch.Tensor
        Of the trained parameters; the optimizer reads them here (`use_gradients`).
    steps : dict
        What is made to step it, for as long as it is used.
    """

    def __init__(self, objectives, optimizers=None, settings=None, width=None):
        self._objectives, self._optimizers = objectives, optimizers
        self.width = width or len(objectives)
        self.steps, self._seen = {}, None
        self._parameters = [dict(objective.named_parameters()) for objective in objectives]
        self._buffers = [dict(objective.named_buffers()) for objective in objectives]
        stepped = set() if optimizers is None else _names(self._parameters[0], optimizers[0])
        parameters = _stacked(self._parameters, self.width)
        self.trained = {name: parameters.pop(name) for name in [*parameters] if name in stepped}
        self.fixed, self.buffers = parameters, _stacked(self._buffers, self.width)
        self.gradients = {name: torch.empty_like(tensor) for name, tensor in self.trained.items()}
        self.optimizer = None
        if optimizers is not None:
            keys = range(len(optimizers)) if settings is None else settings
            runs = groupby(range(len(keys)), keys.__getitem__)
            self.optimizer = self._stacked_optimizer([*members] for _, members in runs)

    def _stacked_optimizer(self, runs):
        """An optimizer of the same class; members of a run share a group."""
        groups, self._runs = [], []
        for members in runs:
            run = slice(members[0], members[-1] + 1)
            names = {id(p): name for name, p in self._parameters[run.start].items()}
            for group in self._optimizers[run.start].param_groups:
                of_group = [names[id(p)] for p in group["params"] if id(p) in names]
                kept = [name for name in of_group if name in self.trained]
                slices = [self.trained[name][run] for name in kept]
                settings = {k: v for k, v in group.items() if k not in ("params", "param_names")}
                groups.append(settings | {"params": slices})
                self._runs += zip([members] * len(kept), kept, slices, strict=True)
        optimizer = type(self._optimizers[0])(groups)
        for members, name, piece in self._runs:
            states = [self._state(member, name) for member in members]
            if states[0]:
                optimizer.state[piece] = {
                    key: _joined(key, [state[key] for state in states]) for key in states[0]
                }
        return optimizer

    def renew_settings(self):
        """Take over the settings of the members' own optimizers, which a schedule has changed."""
        groups = chain.from_iterable(own.param_groups for own in self._optimizers)
        for group, own in zip(self.optimizer.param_groups, groups, strict=True):
            group.update({k: v for k, v in own.items() if k not in ("params", "param_names")})

    def is_current(self):
        """Whether nobody has changed a member or its optimizer since `unstack`."""
        return self._seen is not None and self._seen == self._look()

    def _look(self):
        """What shows a change: tensors count how often they were written to."""
        tensors = [t for own in (*self._parameters, *self._buffers) for t in own.values()]
        seen = [(id(tensor), version(tensor)) for tensor in tensors]
        for optimizer in self._optimizers or ():
            kept = (*optimizer.state.values(), *optimizer.param_groups)
            values = [v for entries in kept for k, v in entries.items() if k != "params"]
            seen += [(id(v), version(v)) if isinstance(v, torch.Tensor) else v for v in values]
        return seen

    def _state(self, member, name):
        return self._optimizers[member].state.get(self._parameters[member][name], {})

    def use_gradients(self, without=()):
        """Hand the optimizer the gradients, but those of the parameters that have none."""
        for members, name, piece in self._runs:
            rows = slice(members[0], members[-1] + 1)
            piece.grad = None if name in without else self.gradients[name][rows]

    @torch.no_grad()
    def unstack(self):
        """Copy everything back to where it came from."""
        for name, stacked in (self.trained | self.buffers).items():
            owners = self._parameters if name in self.trained else self._buffers
            for own, new in zip(owners, stacked[: len(owners)].unbind(), strict=True):
                # An evaluation leaves buffers as they are, and another stack of them current.
                if name in self.trained or not torch.equal(own[name], new):
                    own[name].copy_(new)
        if self.optimizer is None:
            return
        for optimizer in self._optimizers:
            mark_stepped(optimizer)
        for members, name, piece in self._runs:
            for key, value in self.optimizer.state.get(piece, {}).items():
                for place, member in enumerate(members):
                    own = self._optimizers[member].state[self._parameters[member][name]]
                    new = value[place] if _is_stacked(key, value) else value
                    if isinstance(own.get(key), torch.Tensor) and own[key].shape == new.shape:
                        own[key].copy_(new)
                    else:
                        # A deep copy of a slice would keep the storage of the whole stack.
                        own[key] = new.clone() if isinstance(new, torch.Tensor) else new
        self._seen = self._look()


def _names(parameters, optimizer):
    stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return {name for name, p in parameters.items() if id(p) in stepped and p.requires_grad}


def _stacked(dicts, width):
    dicts = dicts + dicts[:1] * (width - len(dicts))
    return {name: torch.stack([tensors[name].detach() for tensors in dicts]) for name in dicts[0]}


def _is_stacked(key, value):
    return isinstance(value, torch.Tensor) and key not in _COUNTERS


def _joined(key, values):
    if _is_stacked(key, values[0]):
        return torch.stack(values)
    return copy.deepcopy(values[0])


def settings_of(optimizer):
    """What models have to share to be in one parameter group: settings, and steps done."""
    numbers = []
    for group in optimizer.param_groups:
        numbers += [(k, _number(v)) for k, v in group.items() if k not in ("params", "param_names")]
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            numbers += [(k, _number(v)) for k, v in state.items() if not _is_stacked(k, v)]
            numbers.append(len(state))
    return tuple(numbers)


def _number(value):
    return value.item() if isinstance(value, torch.Tensor) else fingerprint(value)


def stackable_settings(optimizer):
    """As `settings_of`, of an optimizer that can step a stack.

    Raises
    ------
    NotStackable
        If it can't; the message says why.
    """
    name = type(optimizer).__name__
    if type(optimizer) not in ELEMENTWISE:
        raise NotStackable(f"{name} is not known to update element by element")
    replaced = "zero_grad" in vars(optimizer) or (
        "step" in vars(optimizer) and not wrapped_by_schedule(optimizer.step)
    )
    if optimizer_has_hooks(optimizer) or replaced:
        raise NotStackable(f"the {name} has hooks or replaced methods")
    try:
        return settings_of(optimizer)
    except NotStackable as error:
        raise NotStackable(f"a setting of the {name} can't be compared: {error}") from error
