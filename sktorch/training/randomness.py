"""Draw random numbers from streams of our own, and leave the process's generators as found.

Code of the user draws from the default generators of torch, numpy and Python, which are the
process's. While a stream runs, they hold its state. To swap all states takes 0.1 ms, most of it
numpy's. So in a fit a stream's states stay in the generators when it has run, until another stream
runs, or the fit is over and gives the caller's states back.
"""

import random
import threading
from collections.abc import Callable
from functools import cache, lru_cache, partial, wraps
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from sktorch.training.interrupts import exclusively

Function = TypeVar("Function", bound=Callable[..., Any])

# A thread whose stream runs holds this lock, so that threads that fit side by side neither draw
# from each other's stream nor swap each other's state.
_swap = threading.RLock()


class _Here(threading.local):
    runs = False  # Does a stream run in this thread?
    draws = True  # May code in this thread draw numbers, and set their generators?
    left: "list[RandomStream] | None" = None  # inside a fit: streams whose states may have stayed


_here = _Here()


class _States:
    """States of generators, by name, of which the latest may be in the generator itself."""

    def __init__(self) -> None:
        self.states: dict[str, Any] = {}


_of_caller = _States()


class _Generator:
    """A generator of the process: how its state is read, set and begun, and whose it holds."""

    def __init__(self, name: str, read: Callable, write: Callable, begin: Callable) -> None:
        self.name, self.read, self.write, self._begin = name, read, write, begin
        self.holds: _States | None = _of_caller

    def hold(self, new: _States) -> None:
        """Go on from another state, and keep that of now where it belongs.

        Where an interrupt breaks this off, no state is lost, and it can be called again.
        """
        if self.holds is new:
            return
        if self.holds is not None:
            self.holds.states[self.name] = self.read()
        self.holds = None  # until the new state is there whole
        if self.name in new.states:
            self.write(new.states[self.name])
        else:
            assert isinstance(new, RandomStream)
            self._begin(new.seed)
        self.holds = new


_NUMPY_AND_PYTHON = [
    _Generator("numpy", np.random.get_state, np.random.set_state, np.random.seed),
    _Generator("python", random.getstate, random.setstate, random.seed),
]


class RandomStream(_States):
    """A stream of random numbers that stands in for the default generators.

    What `run` calls draws from the stream: in torch, on the CPU and on a device, in numpy and in
    Python. Afterwards the generators are as they were found; inside a fit, when the fit is over.
    Run again, the stream goes on where it stopped. The numbers are those that follow
    ``torch.manual_seed(seed)``, ``np.random.seed(seed)`` and ``random.seed(seed)``.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        super().__init__()
        self.seed, self.device = seed, device

    def run(self, function: Callable, *args: Any, **kwargs: Any) -> Any:
        """Call a function whose random numbers come from the stream."""
        return self._run(_generators(self.device), partial(function, *args, **kwargs))

    def run_in_torch(self, function: Callable, *args: Any, **kwargs: Any) -> Any:
        """Call a function that draws from torch alone, whose numbers come from the stream."""
        return self._run(_torch_generators(self.device), partial(function, *args, **kwargs))

    def _run(self, generators: list[_Generator], function: Callable) -> Any:
        if _here.runs:
            before = [(generator, generator.holds or _of_caller) for generator in generators]
            return _holding(self, generators, before, function)
        afterwards = []
        if _here.left is None:  # Another thread may have left its stream's, and be over since.
            afterwards = [(generator, _of_caller) for generator in generators]
        elif self not in _here.left:
            _here.left.append(self)
        return exclusively(_swap, _outermost, _holding, self, generators, afterwards, function)

    def next_seed(self) -> int:
        """Return a number that follows from the stream's state, and leave the stream there."""
        self._settle()
        generator = torch.Generator().manual_seed(self.seed)
        if "cpu" in self.states:
            generator.set_state(self.states["cpu"])
        return int(torch.empty((), dtype=torch.int64).random_(generator=generator))

    def has_drawn(self) -> bool:
        """Say whether a number was drawn since the stream began."""
        self._settle()
        begun = _begun(self.seed, self.device)
        return any(_comparable(state) != begun[name] for name, state in self.states.items())

    def __getstate__(self) -> dict[str, Any]:
        self._settle()
        return self.__dict__ | {"states": self.states.copy()}

    def _settle(self) -> None:
        """Read the states that are in the generators."""
        held = [generator for generator in _generators(self.device) if generator.holds is self]
        if held and _here.runs:
            _read(self, held)
        elif held:
            exclusively(_swap, _read, self, held)


def draws_by_stream() -> bool:
    """Say whether a stream runs in the calling thread."""
    return _here.runs


def leaves_generators_as_found(function: Function) -> Function:
    """Let the streams that a function runs keep the generators until it is over."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        left: list[RandomStream] = []
        outer = _here.left
        try:
            try:
                _here.left = left
                return function(*args, **kwargs)
            finally:
                _give_back(left, outer)
        except BaseException:  # perhaps an interrupt that broke that off
            _give_back(left, outer)
            raise

    return call  # type: ignore[return-value]


def drawing_nothing(function: Callable, *args: Any) -> Any:
    """Call a function that is known to draw no numbers, while streams of other threads may run.

    In it the states of generators are not looked at: they are those of other threads.
    """
    outer = _here.draws
    try:
        _here.draws = False
        return function(*args)
    finally:
        _here.draws = outer


def torch_state() -> torch.Tensor:
    """Return the state of torch's generator of the CPU."""
    return torch.get_rng_state() if _here.draws else torch.empty(0)


def numpy_and_python_state() -> list:
    """Return the state of numpy's and Python's global generators, comparable by ``==``."""
    generators = _NUMPY_AND_PYTHON if _here.draws else []
    return [_comparable(generator.read()) for generator in generators]


def torch_numbers_again() -> Callable[[], None]:
    """Return a function after which torch gives the same numbers again on the CPU."""
    return _again(_torch_generators(torch.device("cpu")))


def numpy_and_python_numbers_again() -> Callable[[], None]:
    """Return a function after which numpy and Python give the same numbers again."""
    return _again(_NUMPY_AND_PYTHON)


def _again(generators: list[_Generator]) -> Callable[[], None]:
    states = [(generator, generator.read()) for generator in generators if _here.draws]

    def again() -> None:
        for generator, state in states:
            generator.write(state)

    return again


def _generators(device: torch.device) -> list[_Generator]:
    return [*_torch_generators(device), *_NUMPY_AND_PYTHON]


def _torch_generators(device: torch.device) -> list[_Generator]:
    """Return torch's default generators of the CPU and of another device."""
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    if device.type == "cpu":  # It has one generator, whatever number it is given.
        device = torch.device("cpu")
    places = {"cpu": torch.device("cpu"), device.type: device}
    return [_torch_generator(place) for place in places.values()]


@cache
def _torch_generator(device: torch.device) -> _Generator:
    read, write = torch.get_rng_state, torch.set_rng_state
    if device.type != "cpu":
        module = torch.get_device_module(device)
        read = partial(module.get_rng_state, device)
        write = partial(module.set_rng_state, device=device)

    def begin(seed: int) -> None:
        write(torch.Generator(device).manual_seed(seed).get_state())

    return _Generator(str(device), read, write, begin)


def _outermost(function: Callable, *args: Any) -> Any:
    """Call a function with streams, one of which runs."""
    try:
        try:
            _here.runs = True
            return function(*args)
        finally:
            _here.runs = False
    except BaseException:  # perhaps an interrupt that broke that off
        _here.runs = False
        raise


def _holding(
    stream: RandomStream,
    generators: list[_Generator],
    afterwards: list[tuple[_Generator, _States]],
    function: Callable,
) -> Any:
    """Call a function while generators hold a stream's states; let them hold others afterwards."""
    try:
        try:
            _hold([(generator, stream) for generator in generators])
            return function()
        finally:
            _hold(afterwards)
    except BaseException:  # perhaps an interrupt that broke that off
        _hold(afterwards)
        raise


def _hold(pairs: list[tuple[_Generator, _States]]) -> None:
    for generator, states in pairs:
        generator.hold(states)


def _give_back(left: list[RandomStream], outer: list[RandomStream] | None) -> None:
    """Give the caller's states back, if those of streams have stayed in the generators."""
    generators = {g.name: g for stream in left for g in _generators(stream.device)}.values()
    # Nobody but this thread puts these streams in, so that there is something to do only if one is.
    if any(generator.holds is None or generator.holds in left for generator in generators):
        exclusively(_swap, _hold, [(generator, _of_caller) for generator in generators])
    _here.left = outer


def _read(stream: RandomStream, held: list[_Generator]) -> None:
    for generator in held:
        if generator.holds is stream:
            stream.states[generator.name] = generator.read()


@lru_cache(8)
def _begun(seed: int, device: torch.device) -> dict[str, Any]:
    """Return the first states of a stream, comparable by ``==``."""
    stream = RandomStream(seed, device)
    stream.run(int)
    stream._settle()
    return {name: _comparable(state) for name, state in stream.states.items()}


def _comparable(state: Any) -> Any:
    if isinstance(state, torch.Tensor):
        return state.numpy().tobytes()
    return [part.tobytes() if isinstance(part, np.ndarray) else part for part in state]


def never_draws(layer: nn.Module) -> bool:
    """Say whether a layer is one of torch's, or of ours, that draws no random numbers."""
    own = type(layer).__module__.startswith(("torch.nn.", "sktorch.modules."))
    by_name = type(layer).__name__.startswith(("Dropout", "RReLU", "FractionalMaxPool"))
    by_name = by_name or "AlphaDropout" in type(layer).__name__
    return own and not (by_name or getattr(layer, "dropout", False))
