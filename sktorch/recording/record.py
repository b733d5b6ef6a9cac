"""A function of tensors, recorded once as a flat list of torch's basic operations.

Batching by `torch.func.vmap` and differentiating by autograd decide anew in every call what to do
for each operation. On a CPU that takes longer than the arithmetic of a few small models. What
they decide depends on shapes and dtypes alone, so it is written down once and replayed.
"""

import operator
import warnings

import torch
from torch import fx

from sktorch._private.torch import (
    UNSAFE_VIEW,
    TorchDispatchMode,
    schema,
    trace_in_place,
    tree_flatten,
    tree_map,
    tree_unflatten,
)
from sktorch.recording.memory_plan import reuse_memory

_SAME_WHERE_SHAPE_IS = {"view", UNSAFE_VIEW, "expand", "alias", "detach"}


class Recording:
    """A function as the operations that one call of it ran; calls replay them.

    Replaying holds for inputs of the same structure, shapes, dtypes and device. What Python
    decided while it was recorded (a branch, a number) stays decided.

    Attributes
    ----------
    random : bool
        Whether an operation draws random numbers; a replay draws anew.
    """

    def __init__(self, run, buffers, spec, random):
        self._run, self._buffers, self._spec, self.random = run, buffers, spec, random

    def flat(self):
        """A function as the recording itself, for one thread at a time.

        Of the generator and the tensors in the inputs, and to a list of those in the value: what
        is nested takes longer to look through than a small step.
        """
        buffers = [torch.empty_like(buffer) for buffer in self._buffers]
        return lambda generator, *tensors: self._run(generator, *tensors, *buffers)

    def __call__(self, generator, *inputs):
        """The function's value for other inputs, nested as it returned it."""
        return tree_unflatten(self.flat()(generator, *tree_flatten(inputs)[0]), self._spec)


class NotRecordable(Exception):
    """A function does what a recording can't repeat; the message says what."""


def record(function, generator, *inputs):
    """Call a function and record what it does.

    Parameters
    ----------
    function : callable
        Of tensors, nested in tuples, lists and dicts, to tensors, nested likewise. It may write
        to its inputs; a replay does, too.
    generator : torch.Generator
        All random numbers are drawn from this one, never from torch's default generators.
    *inputs : nested tensors
        It is called with these.

    Returns
    -------
    recording : Recording
    value : nested tensors
        What the call returned.

    Raises
    ------
    NotRecordable
        If a random operation takes no generator.
    """
    recorder = _Recorder(generator, tree_flatten(inputs)[0])
    with recorder:
        value = function(*inputs)
    outputs, spec = tree_flatten(value)
    with torch.no_grad():
        return recorder.finish(outputs, spec), value


class _Recorder(TorchDispatchMode):
    """Writes the operations below autograd and vmap to a graph; a mode of its thread alone."""

    def __init__(self, generator, inputs):
        super().__init__()
        self._like_inputs = [torch.zeros_like(tensor) for tensor in inputs]
        self.graph, self.constants, self.random = fx.Graph(), {}, False
        self._generator = generator
        self._nodes, self._kept = {}, []
        self._name(generator, self.graph.placeholder("generator"))
        for number, tensor in enumerate(inputs):
            self._name(tensor, self.graph.placeholder(f"input_{number}"))

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded in function.tags and _draws(function, args, kwargs):
            self.random = True
            function, kwargs = _drawing_from(self._generator, function, kwargs)
        value = function(*args, **kwargs)
        if not self._changes_nothing(function, args, value):
            nodes = tree_map(self._node, (args, kwargs))
            node = self.graph.call_function(function, *nodes)
            if isinstance(value, torch.Tensor):
                self._name(value, node)
            elif value is not None:
                for number, part in enumerate(value):
                    item = self.graph.call_function(operator.getitem, (node, number))
                    if isinstance(part, torch.Tensor):
                        self._name(part, item)
        return value

    def _changes_nothing(self, function, args, value):
        """Whether a view is its base: then the base stands for it."""
        if function.overloadpacket.__name__ not in _SAME_WHERE_SHAPE_IS:
            return False
        base = args[0]
        same = base.shape == value.shape and base.stride() == value.stride()
        if same:
            self._name(value, self._node(base))
        return same

    def _name(self, tensor, node):
        # Kept, so that no later tensor gets its id or memory.
        self._kept.append(tensor)
        self._nodes[id(tensor)] = node
        node.meta.setdefault("value", tensor)

    def _node(self, value):
        """What stands for a value in the graph: a node for a tensor, itself for a number."""
        if not isinstance(value, torch.Tensor | torch.Generator):
            return value
        if id(value) not in self._nodes:
            name = f"constant_{len(self.constants)}"
            self.constants[name] = value
            self._name(value, self.graph.get_attr(name))
        return self._nodes[id(value)]

    def finish(self, outputs, spec):
        """The recording, with these tensors as its outputs."""
        # Codegen of fx frees each tensor after its last use.
        self.graph.output([self._node(output) for output in outputs])
        self.graph.eliminate_dead_code()
        _turn_products(self.graph)
        buffers = [torch.empty_like(buffer) for buffer in reuse_memory(self.graph)]
        module = fx.GraphModule(self.constants, self.graph)
        like_inputs = self._like_inputs + buffers
        # Elsewhere threads need not run side by side, and TorchScript would compile anew.
        on_cpu = all(tensor.device.type == "cpu" for tensor in like_inputs)
        by_python = self.random or not on_cpu
        run = module.forward if by_python else _without_python(module, like_inputs)
        return Recording(run, buffers, spec, self.random)


def _turn_products(graph):
    """Compute what is high and of a transposed tensor as wide: AB as the transpose of BᵀAᵀ.

    Gradients of weights are such products. MKL was seen to take a third less time for wide ones.
    """
    bmm, transpose = torch.ops.aten.bmm.default, torch.ops.aten.transpose.int
    for node in [node for node in graph.nodes if node.target is bmm]:
        value, (first, second) = node.meta["value"], node.args
        if first.target is not transpose or value.shape[1] <= value.shape[2]:
            continue
        with graph.inserting_before(node):
            parts = [graph.call_function(transpose, (part, 1, 2)) for part in (second, first)]
            product = graph.call_function(bmm, tuple(parts))
            turned = graph.call_function(transpose, (product, 1, 2))
        for part, source in zip(parts, (second, first), strict=True):
            part.meta["value"] = source.meta["value"].mT
        # Of the same memory: that is how long it is needed.
        shape, strides = value.mT.shape, value.mT.contiguous().stride()
        product.meta["value"] = value.as_strided(shape, strides)
        turned.meta["value"] = product.meta["value"].mT
        node.replace_all_uses_with(turned)
        graph.erase_node(node)
    graph.eliminate_dead_code()


def _without_python(module, inputs):
    """The graph as a program that holds no lock of Python's while it runs.

    By it, stacks in several threads keep several cores busy. TorchScript is deprecated and needed
    for nothing else; without it the graph runs as Python, and the threads wait for each other.
    """

    def run(*tensors):
        return tuple(module.forward(None, *tensors))

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            traced = trace_in_place(run, inputs)
    except (RuntimeError, AttributeError, TypeError):
        return module.forward
    return lambda generator, *tensors: traced(*tensors)


def _draws(function, args, kwargs):
    """Whether a random operation draws: attention does not, where its dropout is zero."""
    names = [argument.name for argument in schema(function).arguments]
    given = dict(zip(names, args, strict=False)) | kwargs
    return "dropout_p" not in names or given.get("dropout_p", 0) > 0


def _drawing_from(generator, function, kwargs):
    """A random operation that draws from a generator, and its keyword arguments."""
    if not _takes_generator(function):
        function = getattr(function.overloadpacket, "generator", function)
    if not _takes_generator(function):
        raise NotRecordable(f"{function.overloadpacket.__name__} draws from no given generator")
    return function, kwargs | {"generator": generator}


def _takes_generator(function):
    return any(argument.name == "generator" for argument in schema(function).arguments)
