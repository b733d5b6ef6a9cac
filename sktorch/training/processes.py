"""Several processes that train one model: which fits they share, and what they tell each other.

Each process (a "rank", as torch.distributed numbers them) calls the same functions with the same
arguments in the same order. There are two groups: one to work in, and one to meet in at the end of
a fit, to tell whether it failed. A rank that fails leaves the group to work in, so that those that
wait for it there fail, too, and come to the meeting.
"""

import atexit
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial, wraps
from multiprocessing import parent_process
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

Function = TypeVar("Function", bound=Callable[..., Any])

_OF_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class OneProcess:
    """A training in this process alone: it agrees with itself, and nothing is sent."""

    rank, size = 0, 1

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that prints and writes files."""
        return self.rank == 0

    def local(self, device: torch.device) -> torch.device:
        """Return the device of this process where any of its kind was asked for."""
        return device

    def agreed(self, value: Any) -> Any:
        """Return the value of rank 0."""
        return value

    def any(self, flag: bool) -> bool:
        """Say whether a flag is set in any of the processes."""
        return flag

    def check_same(self, values: dict[str, Any]) -> None:
        """Raise ValueError in every process if values differ between them."""

    def copy_first(self, tensors: Iterable[Tensor]) -> None:
        """Write the values of rank 0 to tensors."""


class SeveralProcesses(OneProcess):
    """A training that the ranks of a process group share, seen from one of them."""

    def __init__(self, groups: "_Groups") -> None:
        self._groups = groups
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()

    def local(self, device: torch.device) -> torch.device:
        """Return the GPU of this rank's number on its machine, where none was named."""
        if device.type != "cuda" or device.index is not None:
            return device
        number = int(os.environ.get("LOCAL_RANK", torch.cuda.current_device()))
        return torch.device("cuda", number % torch.cuda.device_count())

    def agreed(self, value: Any) -> Any:
        """Return the value of rank 0."""
        values = [value]
        _reached(distributed.broadcast_object_list, values, group=self._groups.work)
        return value if self.is_first else values[0]

    def any(self, flag: bool) -> bool:
        """Say whether a flag is set in any of the processes."""
        return any(self._of_all(flag, self._groups.work))

    def check_same(self, values: dict[str, Any]) -> None:
        """Raise ValueError in every process if values differ between them."""
        first, *others = self._of_all(values, self._groups.work)
        for rank, other in enumerate(others, start=1):
            both = first | other  # What only one of them has differs, too.
            names = [name for name in both if other.get(name) != first.get(name)]
            if names:
                raise ValueError(
                    f"Rank {rank} has other {' and '.join(names)} than rank 0. Processes that "
                    "train one model call fit with the same arguments: each takes its share of "
                    "the rows itself. Pass the same on every rank."
                )

    def copy_first(self, tensors: Iterable[Tensor]) -> None:
        """Write the values of rank 0 to tensors."""
        for tensor in tensors:
            # As bytes, since gloo does not send every dtype.
            sent = tensor.detach().flatten().contiguous().view(torch.uint8)
            _reached(distributed.broadcast, sent, src=0, group=self._groups.work)
            if not self.is_first:
                tensor.detach().copy_(sent.view(tensor.dtype).view(tensor.shape))

    def share(self, n_rows: int, rank: int | None = None) -> slice:
        """Return the rows of a batch that are this rank's, or another's."""
        rank = self.rank if rank is None else rank
        start, stop = (-(-n_rows * end // self.size) for end in (rank, rank + 1))
        return slice(start, stop)

    def n_own(self, n_rows: int) -> int:
        """Return the number of rows of a batch that are this rank's; it may be zero."""
        share = self.share(n_rows)
        return share.stop - share.start

    def gathered(self, own: Tensor, n_rows: int) -> Tensor:
        """Return the rows of a batch, of which each rank has computed its share."""
        shares = [self.share(n_rows, rank) for rank in range(self.size)]
        sizes = [share.stop - share.start for share in shares]
        # Shares differ by one row at most, and what is gathered has one shape.
        padded = own.new_zeros(max(sizes), *own.shape[1:])
        padded[: len(own)] = own
        sent = padded.flatten().view(torch.uint8)  # gloo does not send every dtype
        received = [torch.empty_like(sent) for _ in sizes]
        _reached(distributed.all_gather, received, sent, group=self._groups.work)
        parts = [part.view(own.dtype).view(padded.shape) for part in received]
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @torch.no_grad()
    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their means; a parameter that no rank has used keeps none."""
        by_dtype: dict[torch.dtype, list[nn.Parameter]] = {}
        for parameter in parameters:
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = self.summed(parameter.grad.coalesce()) / self.size
            elif parameter.requires_grad:
                by_dtype.setdefault(parameter.dtype, []).append(parameter)
        for alike in by_dtype.values():
            self._average_dense(alike)

    def _average_dense(self, parameters: list[nn.Parameter]) -> None:
        gradients = [p.grad for p in parameters]
        # Beside the gradients goes whether there are any: one message costs as much as half of two.
        has_gradient = parameters[0].new_tensor([g is not None for g in gradients])
        pairs = zip(parameters, gradients, strict=True)
        values = [torch.zeros_like(p) if g is None else g for p, g in pairs]
        sums = self.summed(torch.cat([has_gradient, *(value.flatten() for value in values)]))
        counts, *means = (sums / self.size).split([len(values), *map(Tensor.numel, values)])
        for number, (parameter, mean) in enumerate(zip(parameters, means, strict=True)):
            if parameter.grad is not None:
                parameter.grad.copy_(mean.view_as(parameter))
            elif counts[number] > 0:
                parameter.grad = mean.view_as(parameter).clone()

    def summed(self, tensor: Tensor) -> Tensor:
        """Return a tensor to which those of the other processes were added."""
        _reached(distributed.all_reduce, tensor, group=self._groups.work)
        return tensor

    def _of_all(self, value: Any, group: Any) -> list[Any]:
        values = [None] * self.size
        _reached(distributed.all_gather_object, values, value, group=group)
        return values

    def run(self, function: Callable[[], Any]) -> Any:
        """Call a function; raise if it fails in any process."""
        try:
            result = function()
        except BaseException as error:
            self._tell(error)
            raise
        self._raise_for(self._of_all(None, self._groups.meeting), None)
        return result

    def _tell(self, error: BaseException) -> None:
        """Tell the others of an error; raise theirs, if it is only a consequence of that."""
        is_consequence = isinstance(error, _Unreachable)
        self._groups.leave_work()
        if not is_consequence and torch.cuda.is_initialized():
            return  # The others may wait for a GPU, and would not come.
        try:
            own = None if is_consequence else f"{type(error).__name__}: {error}"
            errors = self._of_all(own, self._groups.meeting)
        except _Unreachable:
            errors, self._groups.is_lost = [], True
        if is_consequence:
            self._raise_for(errors, error)
            raise RuntimeError(
                f"A process that trains this model with rank {self.rank} has died, or can't be "
                f"reached: {error}. See what it wrote last."
            ) from error

    def _raise_for(self, errors: list[str | None], cause: BaseException | None) -> None:
        for rank, error in enumerate(errors):
            if error is not None:
                raise RuntimeError(
                    f"Rank {rank} of {self.size} failed, and with it the training of all: {error}"
                ) from cause


class _Unreachable(RuntimeError):
    """Another process does not answer: it failed or died."""


@dataclass
class _Groups:
    """The process groups of fits: one to work in, until an error, and one to meet in."""

    world: Any
    meeting: Any
    work: Any
    is_lost: bool = False  # Did a process die?

    def leave_work(self) -> None:
        """Let those that wait for this process fail."""
        distributed.destroy_process_group(self.work)
        self.work = None


class _Here(threading.local):
    processes: OneProcess = OneProcess()  # of the fit that runs in this thread


_here = _Here()
_groups: _Groups | None = None
_was_forked = False  # with a process group, in which only the parent takes part


def current_processes() -> OneProcess:
    """Return the processes that share the fit that runs in this thread."""
    return _here.processes


def together(function: Function) -> Function:
    """Return a function that all ranks call at once, in which `current_processes` are these.

    It is called as it is where this process does not take part, and inside of another such call.
    """

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not _takes_part() or _here.processes.size > 1:
            return function(*args, **kwargs)
        _here.processes = processes = SeveralProcesses(_open_groups())
        try:
            return processes.run(partial(function, *args, **kwargs))
        finally:
            _here.processes = OneProcess()

    return call  # type: ignore[return-value]


def _takes_part() -> bool:
    """Say whether fits of this thread are shared with other processes.

    Threads would begin their fits in another order in each process; workers of a joblib backend or
    of a DataLoader only inherit the settings of a rank.
    """
    if not distributed.is_available():
        return False
    if distributed.is_initialized():
        asked = distributed.get_world_size() > 1 and not _was_forked
    else:
        asked = _OF_TORCHRUN[0] in os.environ and _is_of_torchrun()
    return asked and threading.current_thread() is threading.main_thread()


def _is_of_torchrun() -> bool:
    """Say whether torchrun, or what sets its variables, began this very process, and others."""
    given = all(os.environ.get(name) for name in _OF_TORCHRUN)
    return given and _world_size() > 1 and parent_process() is None


def _world_size() -> int:
    size = os.environ["WORLD_SIZE"]
    if not size.isdecimal():
        raise ValueError(
            f"The environment variable WORLD_SIZE is {size!r}; expected the number of processes "
            "that train one model. Set it as torchrun does, or unset it to train in this process."
        )
    return int(size)


def _open_groups() -> _Groups:
    """Return the groups of fits; those of the fit before, unless it failed."""
    global _groups
    has_nccl = torch.cuda.is_available() and distributed.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if has_nccl else "gloo"
    if not distributed.is_initialized():
        distributed.init_process_group(backend)
        atexit.register(_leave)
    world = distributed.group.WORLD
    if _groups is None or _groups.world is not world:
        _groups = _Groups(world, distributed.new_group(backend="gloo"), None)
    if _groups.is_lost:
        raise RuntimeError(
            "A process of the group has died, and no further model can be trained together. Start "
            "all processes again."
        )
    if _groups.work is None:
        _groups.work = distributed.new_group(backend=backend)
    return _groups


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _note_fork() -> None:
    global _was_forked
    _was_forked = distributed.is_available() and distributed.is_initialized()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def _reached(collective: Callable, *args: Any, **kwargs: Any) -> None:
    """Call a function of torch.distributed; raise `_Unreachable` if a process does not answer."""
    try:
        collective(*args, **kwargs)
    except RuntimeError as error:
        raise _Unreachable(str(error)) from error
