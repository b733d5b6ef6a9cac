"""Record a function of tensors once as a flat list of torch's basic operations.

`torch.func.vmap` and autograd decide anew in every call what each operation becomes. On a CPU that
takes longer than the arithmetic of a few small models. The decisions depend on shapes and dtypes
alone, so they are written down once and replayed.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.overrides import TorchFunctionMode

from sktorch._private.torch import (
    UNSAFE_VIEW,
    OpOverload,
    TorchDispatchMode,
    TreeSpec,
    schema,
    tree_flatten,
    tree_leaves,
    tree_map,
    tree_unflatten,
)
from sktorch.recording.lower import Program, lower
from sktorch.recording.memory_plan import reuse_memory
from sktorch.recording.simplify import simplify
from sktorch.recording.vectorize import vectorize

# Views that are their base itself if shape and strides are the same.
_MAY_BE_IDENTITY = {"view", UNSAFE_VIEW, "expand", "alias", "detach"}
# Operations that hand values of tensors to Python or, in C++, to the choice of further operations.
_READS_VALUES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
_READS_VALUES_UNTAGGED = {"_pack_padded_sequence", "_ctc_loss"}
# The same by methods of tensors that run no operation.
_READ_BY_PYTHON = {
    torch.tensor_split,
    Tensor.tensor_split,
    Tensor.apply_,
    Tensor.numpy,
    Tensor.tolist,
    Tensor.__array__,
    Tensor.__dlpack__,
}


class NotRecordable(Exception):
    """A function does something that a recording can't repeat; the message names it.

    The function was called once all the same: `value` is what it returned.
    """

    def __init__(self, reason: str, value: Any = None) -> None:
        super().__init__(reason)
        self.value = value


class Recording:
    """The operations that one call of a function ran, to be replayed.

    A replay holds for inputs of the same structure, shapes, strides, dtypes and device. What Python
    decided while recording (a branch, a number) stays decided.
    """

    def __init__(
        self, program: Program, buffers: list[Tensor], structure: TreeSpec, random: bool
    ) -> None:
        self.program, self._buffers, self._structure = program, buffers, structure
        self.random = random  # whether an operation draws random numbers: each replay draws anew

    @property
    def replayed_by(self) -> str:
        """The language, "TorchScript", or "Python" where that fails or can't be used."""
        return "Python" if self.program.source is None else "TorchScript"

    def flat(self) -> Callable[..., Sequence[Tensor]]:
        """Return a function of the generator and all inputs' tensors, for one thread at a time.

        Nested inputs are left out: to flatten them takes longer than a small step.
        """
        run = self.program.run
        if not self._buffers:
            return run
        buffers = self.new_buffers()
        return lambda generator, *tensors: run(generator, *tensors, *buffers)

    def new_buffers(self) -> list[Tensor]:
        """Return memory for a replay, the last of its program's inputs."""
        return [torch.empty_like(buffer) for buffer in self._buffers]

    def __call__(self, generator: torch.Generator | None, *inputs: Any) -> Any:
        """Return the function's value for other inputs, nested as the function returned it."""
        return tree_unflatten([*self.flat()(generator, *tree_leaves(inputs))], self._structure)


def record(
    function: Callable[..., Any],
    generator: torch.Generator | None,
    *inputs: Any,
    vectorized: bool = True,
    planned_memory: bool = True,
) -> tuple[Recording, Any]:
    """Call a function of nested tensors once; return a recording of it and its value.

    The function may write to its inputs; so does a replay. All random numbers come from
    ``generator``, or if it is None from where the function draws them. ``vectorized`` makes some
    products faster, and their last bits others. ``planned_memory`` reuses memory that large results
    would be allocated in. Raise `NotRecordable` if a replay could not do the same.
    """
    tensors = tree_leaves(inputs)
    recorder = _Recorder(generator, tensors)
    with recorder, _ValueReads(recorder):
        value = function(*inputs)
    if recorder.reason is not None:
        raise NotRecordable(recorder.reason, value)
    outputs, structure = tree_flatten(value)
    with torch.no_grad():
        graph = recorder.graph_to(outputs)
        simplify(graph)
        if vectorized:
            vectorize(graph)
        buffers = reuse_memory(graph) if planned_memory else []
        program = lower(graph, recorder.constants, tensors + buffers, recorder.has_generator)
    examples = [torch.empty_like(buffer) for buffer in buffers]
    return Recording(program, examples, structure, recorder.random), value


class _Recorder(TorchDispatchMode):
    """Writes a thread's operations, below autograd and vmap, to a graph."""

    def __init__(self, generator: torch.Generator | None, inputs: list[Tensor]) -> None:
        super().__init__()
        self.graph, self.constants = fx.Graph(), dict[str, Any]()
        self.random = self.has_generator = False  # draws at all, and draws from the generator
        self.reason: str | None = None  # why it can't be replayed
        self._generator = generator
        self._nodes: dict[int, fx.Node] = {}
        self._alive: list[Tensor | torch.Generator | None] = []
        self._bind(generator, self.graph.placeholder("generator"))
        for number, tensor in enumerate(inputs):
            self._bind(tensor, self.graph.placeholder(f"input_{number}"))

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if _reads_values(function, args):
            self.refuse(f"{function.overloadpacket.__name__} depends on values")
        if torch.Tag.nondeterministic_seeded in function.tags and _draws(function, args, kwargs):
            self.random = True
            if self._generator is not None:
                self.has_generator = True
                function, kwargs = _drawing_from(self._generator, function, kwargs)
            elif kwargs.get("generator") is not None:
                self.refuse("it draws from a generator of its own")
        value = function(*args, **kwargs)
        if _is_identity(function, args, value):
            self._bind(value, self._node(args[0]))
            return value
        node = self.graph.call_function(function, *tree_map(self._node, (args, kwargs)))
        if isinstance(value, Tensor):
            self._bind(value, node)
        elif isinstance(value, list | tuple):  # A value that is read is a number.
            for number, part in enumerate(value):
                item = self.graph.call_function(operator.getitem, (node, number))
                if isinstance(part, Tensor):
                    self._bind(part, item)
        return value

    def refuse(self, reason: str) -> None:
        """Note why a replay could not do the same, and let the call go on."""
        self.reason = self.reason or reason

    def graph_to(self, outputs: list[Any]) -> fx.Graph:
        """Return the graph with these outputs, without operations that nothing needs."""
        # fx's generated code frees each tensor after its last use.
        self.graph.output([self._node(output) for output in outputs])
        self.graph.eliminate_dead_code()
        return self.graph

    def _bind(self, value: Tensor | torch.Generator | None, node: fx.Node) -> None:
        """Let a node stand for a tensor or a generator."""
        self._alive.append(value)  # so that no later tensor gets its id or memory
        self._nodes[id(value)] = node
        node.meta.setdefault("value", value)

    def _node(self, value: Any) -> Any:
        """Return the node of a tensor or a generator, and a number as it is."""
        if not isinstance(value, Tensor | torch.Generator):
            return value
        if id(value) not in self._nodes:
            name = f"constant_{len(self.constants)}"
            self.constants[name] = value
            self._bind(value, self.graph.get_attr(name))
        return self._nodes[id(value)]


class _ValueReads(TorchFunctionMode):
    """Lets a recorder know when Python reads the values of a tensor."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if function in _READ_BY_PYTHON:
            self._recorder.refuse(f"{function.__name__} depends on values")
        return function(*args, **kwargs or {})


def _reads_values(function: OpOverload, args: Sequence[Any]) -> bool:
    """Say whether what follows an operation depends on the values of its tensors."""
    if function.overloadpacket is torch.ops.aten.index:  # Only a mask makes it depend on them.
        indices = [index for index in args[1] if index is not None]
        return any(index.dtype in (torch.bool, torch.uint8) for index in indices)
    untagged = function.overloadpacket.__name__ in _READS_VALUES_UNTAGGED
    return untagged or not _READS_VALUES.isdisjoint(function.tags)


def _is_identity(function: Any, args: Sequence[Any], value: Any) -> bool:
    """Say whether an operation returns its first argument under another name."""
    if function.overloadpacket.__name__ not in _MAY_BE_IDENTITY:
        return False
    return args[0].shape == value.shape and args[0].stride() == value.stride()


def _draws(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Say whether a random operation draws: attention without dropout does not."""
    names = [argument.name for argument in schema(function).arguments]
    given = dict(zip(names, args, strict=False)) | dict(kwargs)
    return "dropout_p" not in names or given.get("dropout_p", 0) > 0


def _drawing_from(
    generator: torch.Generator, function: Any, kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Return a random operation that takes a generator, and keyword arguments with this one."""
    if not _takes_generator(function):
        function = getattr(function.overloadpacket, "generator", function)
    if not _takes_generator(function):
        raise NotRecordable(f"{function.overloadpacket.__name__} draws from no given generator")
    return function, kwargs | {"generator": generator}


def _takes_generator(function: Any) -> bool:
    return any(argument.name == "generator" for argument in schema(function).arguments)
