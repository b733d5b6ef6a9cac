"""What the code of a module reads elsewhere: a table of functions, and where it is changed."""

import types

import torch
from torch import Tensor

from tests.training.unrepeatable import Net

RATE = 1.0
others = types.ModuleType("others")
others.RATE = 1.0
exec("def scaled(x):\n    return x * RATE", vars(others))


class Settings:
    """A class that holds settings, and another inside."""

    rate = 1.0

    class Inner:
        rate = 1.0


class Inherits(Settings):
    """Has its base's settings."""


class Slope(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * RATE


class Clock:
    rate = 1.0

    def now(self):
        return self.rate


def closure():
    rate = [1.0]
    return rate, lambda x: x * rate[0]


cell, closed = closure()

READERS: dict[str, tuple] = {
    "global": (lambda net, x: x * RATE, globals(), "RATE"),
    "attribute": (lambda net, x: x * net.alpha, None, "alpha"),
    "closure": (lambda net, x: closed(x), cell, 0),
    "class": (lambda net, x: x * Settings.rate, Settings, "rate"),
    "inner class": (lambda net, x: x * Settings.Inner.rate, Settings.Inner, "rate"),
    "base": (lambda net, x: x * Inherits.rate, Settings, "rate"),
    "hidden base": (lambda net, x: x * Inherits.rate, Inherits, "rate"),
    "other file": (lambda net, x: x * others.RATE, others, "RATE"),
    "its function": (lambda net, x: others.scaled(x), others, "RATE"),
    "own slope": (lambda net, x: Slope.apply(x), globals(), "RATE"),
    "getattr": (lambda net, x: x * getattr(Settings, "ra" + "te"), Settings, "rate"),
    "clock": (lambda net, x: x * net.clock(), Clock, "rate"),
}


class Reads(Net):
    """Reads something, in a function that it is given."""

    def __init__(self, read):
        super().__init__()
        self.read, self.clock = read, Clock().now if read is READERS["clock"][0] else None

    def between(self, hidden: Tensor) -> Tensor:
        return self.read(self, hidden)
