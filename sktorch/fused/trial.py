"""What one step of a stack of models does, tried before it is used."""

import copy
import time
import warnings
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch.func import functional_call, grad_and_value, vmap
from torch.overrides import TorchFunctionMode

from sktorch._private.torch import tree_flatten, tree_leaves, tree_unflatten
from sktorch.fused.stack import NotStackable, fingerprint, skeleton
from sktorch.recording.record import Recording, record
from sktorch.training.randomness import (
    RandomStream,
    numpy_and_python_seeded,
    numpy_and_python_state,
)

# The largest difference to the model alone, relative to the largest number, that is rounding.
TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3}
# Products in 16 bits: sums of a batch's gradients, which cancel, were seen to differ by 0.07.
TOLERANCE_16_BIT = 0.2
# A stack has to take less than this of the time of its models alone: what copying costs.
MAX_TIME_RATIO = 0.95
# Seconds of a step of a model alone on a CPU, from which on Python's share is too small to gain:
# not even a trial pays, which takes as long as ten steps of every model.
MAX_ALONE_SECONDS = 0.005


@dataclass(frozen=True, eq=False)
class Program:
    """A step of a stack.

    Attributes
    ----------
    recording : Recording or None
        From the stack's tensors and a batch to losses, while it writes the gradients to those of
        the stack, or in an evaluation to losses and outputs; None where the models are better off
        alone.
    without_gradient : frozenset of str
        Parameters that the loss does not depend on: an optimizer leaves them alone.
    reason : str or None
        Why there is no recording.
    """

    recording: Recording | None = None
    without_gradient: frozenset = frozenset()
    reason: str | None = None


def stacked_batches(members, width):
    """The next batches of all members, as many as all have at hand.

    Members on the same way, at the same place, share what is fetched of it.

    Parameters
    ----------
    members : list of EpochTask
    width : int
        Of the stack: further rows have the first member's batches.

    Returns
    -------
    batches : iterator of list of torch.Tensor
        The tensors of each batch, of shape (width, n_rows, ...).
    """
    members = members + members[:1] * (width - len(members))
    places = [(id(one.shared_batches), one.n_done) for one in members]
    numbers = {place: number for number, place in enumerate(dict.fromkeys(places))}
    first = {place: one for one, place in zip(reversed(members), reversed(places), strict=True)}
    parts = [tree_leaves(first[place].ahead()) for place in numbers]
    n_batches = min(len(tensors[0]) for tensors in parts)
    # Contiguous each, so that all batches have the strides that a recording was made with.
    batches = zip(
        *(torch.stack([t[:n_batches] for t in part], 1) for part in zip(*parts, strict=True)),
        strict=True,
    )
    if len(numbers) == len(members):
        return map(list, batches)
    rows = torch.tensor([numbers[place] for place in places], device=parts[0][0].device)
    return ([tensor.index_select(0, rows) for tensor in batch] for batch in batches)


def make_program(members, stack, generator):
    """Record a step of a stack, and hold it against its first model alone: numbers and time.

    Of the stack only the gradients change, of the members nothing.

    Parameters
    ----------
    members : list of EpochTask
        Of one kind.
    stack : Stack
    generator : torch.Generator
        To draw from in the trial.

    Returns
    -------
    program : Program
    """
    try:
        if members[0].device.type == "cpu":
            _check_small(members[0])
        recording, value, after = _recorded(members, stack, generator)
        # A throw-away stream: the trial may draw random numbers, and must not take the model's.
        with RandomStream(0, members[0].device) if recording.random else nullcontext():
            alone, missing = _alone(members[0])
            if not recording.random:
                _check_agreement(alone(members[0].batch()), (value, after), members[0])
            if members[0].device.type == "cpu":
                _check_worth(recording, alone, members, stack, generator)
        return Program(recording, missing)
    except NotWorthStacking as why:
        return Program(reason=str(why))


class NotWorthStacking(Exception):
    """A stack is of no use; the message says why."""


def _recorded(members, stack, generator):
    """A recording of the step, what a replay returned and wrote, and the buffers after it."""
    bare = skeleton(members[0].objective)
    step, inputs = _step_of_stack(members[0], bare), _inputs(members, stack)
    state, given = generator.get_state(), inputs()
    with warnings.catch_warnings(), numpy_and_python_seeded(0), _or_alone():
        # of vmap, about operations that it runs one by one
        warnings.filterwarnings("ignore", message="There is a performance drop")
        before = numpy_and_python_state()
        recording, value = record(step, generator, *given)
        draws_elsewhere = numpy_and_python_state() != before
    if _changed(bare, members[0].objective):
        raise NotWorthStacking("it keeps something in its attributes from one call to the next")
    if draws_elsewhere:  # Every replay would have the same numbers.
        raise NotWorthStacking("it draws from the generators of numpy or Python")
    first = [t.clone() for t in tree_leaves((value, given[1], given[3]))]
    generator.set_state(state)
    given = inputs()
    with _or_alone():
        value = recording(generator, *given)
    pairs = zip(tree_leaves((value, given[1], given[3])), first, strict=True)
    if not all(_close(*pair, _is_plain(members[0])) for pair in pairs):
        raise NotWorthStacking("replayed it computes something else")
    if members[0].optimizer is not None:
        value = stack.gradients, *value
    return recording, value, {name: buffer[0].clone() for name, buffer in given[3].items()}


@contextmanager
def _or_alone():
    """Whatever a module does that can't be batched or repeated is a reason to train it alone."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise NotWorthStacking(f"it can't be batched, {_first_line(error)}") from error


def _inputs(members, stack):
    """A function that returns the step's inputs; what a module may write to is new each time."""
    batch = next(stacked_batches(members, stack.width))

    def inputs():
        buffers = {name: buffer.clone() for name, buffer in stack.buffers.items()}
        gradients = {name: g.fill_(torch.nan) for name, g in stack.gradients.items()}
        return stack.trained, gradients, stack.fixed, buffers, *(x.clone() for x in batch)

    return inputs


def _check_small(one):
    """Raise if a step of a model alone is large."""
    with RandomStream(0, one.device), numpy_and_python_seeded(0):
        step, _ = _alone(one)
        batch = one.batch()
        seconds = _seconds(lambda: step(batch))
    if seconds > MAX_ALONE_SECONDS:
        raise NotWorthStacking(f"a step takes {1000 * seconds:.0f} ms, and Python little of it")


def _check_worth(recording, alone, members, stack, generator):
    """Raise if the stack takes longer than its models alone."""
    given, batch, run = _inputs(members, stack)(), members[0].batch(), recording.flat()
    tensors = tree_leaves(given)
    seconds = _seconds(lambda: run(generator, *tensors)) / stack.width
    ratio = seconds / _seconds(lambda: alone(batch))
    if ratio > MAX_TIME_RATIO:
        raise NotWorthStacking(f"stacked it takes {ratio:.1f}x as long")


def _changed(bare, objective):
    """Whether a call has changed an attribute, which a recording would not do again."""
    try:
        return fingerprint(bare)[0] != fingerprint(objective)[0]
    except NotStackable:
        return True


def _step_of_stack(one, bare):
    """A function of stacked tensors and a batch, differentiated and batched."""
    clip_norm, structure = one.clip_norm, tree_flatten(one.batch())[1]

    def evaluate(trained, fixed, buffers, *tensors):
        batch = tree_unflatten(tensors, structure)
        with one.precision.autocast(), _OwnEmbeddings():
            return functional_call(bare, (trained, fixed, buffers), (*batch,))

    def loss_of(*inputs):
        return evaluate(*inputs)[0]

    def train(*inputs):
        with one.precision.backward():
            # Buffers are arguments of what is differentiated, so that it may write to them.
            gradients, loss = grad_and_value(loss_of)(*inputs)
        if clip_norm is not None:
            gradients = _clipped(gradients, clip_norm)
        return gradients, loss.detach()

    batched = vmap(evaluate if one.optimizer is None else train, randomness="different")

    def step(trained, gradients, fixed, buffers, *tensors):
        """Write the gradients to where the optimizer reads them; return the losses."""
        new, *rest = batched(trained, fixed, buffers, *tensors)
        if one.optimizer is None:
            return new, *rest
        for name, gradient in new.items():
            gradients[name].copy_(gradient)
        return rest

    return step


class _OwnEmbeddings(TorchFunctionMode):
    """Makes an embedding of codes that its table does not have NaN.

    Batched, the tables of all models become one, and such a code would be that of another model.
    Alone it is an error; so is the loss that is not finite.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is not F.embedding:
            return function(*args, **kwargs)
        return _embedding_or_nan(*args, **kwargs)


def _embedding_or_nan(input, weight, *args, **kwargs):
    unknown = (input < 0) | (input >= weight.shape[0])
    rows = F.embedding(input.masked_fill(unknown, 0), weight, *args, **kwargs)
    return rows.masked_fill(unknown.unsqueeze(-1), torch.nan)


def _clipped(gradients, clip_norm):
    """As ``torch.nn.utils.clip_grad_norm_`` clips those of the module, the criterion's left out."""
    own = {name: g for name, g in gradients.items() if name.startswith("module.")}
    norm = torch.nn.utils.get_total_norm(own.values(), foreach=False)  # can be batched
    share = (clip_norm / (norm + 1e-6)).clamp(max=1)
    return gradients | {name: gradient * share for name, gradient in own.items()}


def _alone(one):
    """A step of one model on a copy, as a function, and the parameters without a gradient."""
    objective = copy.deepcopy(one.objective)
    trained = {}
    if one.optimizer is not None:
        stepped = {id(p) for group in one.optimizer.param_groups for p in group["params"]}
        own = zip(objective.named_parameters(), one.objective.parameters(), strict=True)
        trained = {n: p for (n, p), source in own if p.requires_grad and id(source) in stepped}

    def step(batch):
        with one.precision.autocast(), torch.set_grad_enabled(bool(trained)):
            loss, output = objective(*batch)
        buffers = {name: buffer.clone() for name, buffer in objective.named_buffers()}
        if not trained:
            return (loss, output), buffers
        gradients = torch.autograd.grad(loss, [*trained.values()], allow_unused=True)
        gradients = dict(zip(trained, gradients, strict=True))
        if one.clip_norm is not None:
            there = {name: g for name, g in gradients.items() if g is not None}
            gradients |= _clipped(there, one.clip_norm)
        return (gradients, loss.detach()), buffers

    missing = frozenset()
    if trained:
        state = copy.deepcopy(objective.state_dict())
        missing = frozenset(name for name, g in step(one.batch())[0][0].items() if g is None)
        objective.load_state_dict(state)
    return step, missing


def _check_agreement(alone, stacked, one):
    """Raise if what a model computes alone is not the first row of what the stack computes."""
    (alone, alone_buffers), (value, buffers) = alone, stacked
    pairs = [(buffers[name], buffer) for name, buffer in alone_buffers.items()]
    for single, many in zip(alone, value, strict=True):
        if isinstance(single, dict):
            pairs += [(many[name][0], g) for name, g in single.items() if g is not None]
        else:
            pairs.append((many[0], single))
    if not all(_close(*pair, _is_plain(one)) for pair in pairs):
        raise NotWorthStacking("batched it computes something else")


def _is_plain(one):
    """Whether a model computes in the precision of its parameters."""
    return one.precision.autocast is nullcontext


def _close(stacked, alone, plain):
    if stacked.shape != alone.shape:
        return False
    tolerance = TOLERANCE.get(alone.dtype, TOLERANCE_16_BIT) if plain else TOLERANCE_16_BIT
    alone, stacked = alone.double(), stacked.double()
    scale = alone.abs().max() if alone.numel() else 0
    near = (stacked - alone).abs() <= tolerance * scale + 1e-7
    return bool((near | (stacked.isnan() & alone.isnan()) | (stacked == alone)).all())


def _seconds(function):
    """Time of the thread for a call, other load left out: the shortest of two, warmed up."""
    times = []
    for _ in range(4):
        start = time.thread_time()
        function()
        times.append(time.thread_time() - start)
    return min(times[2:])


def _first_line(error):
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
