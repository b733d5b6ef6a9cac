"""Fits of several processes that differ from each other, or of which one fails."""

import io
import os
import signal
import time
from contextlib import redirect_stdout
from functools import partial
from typing import Any

import joblib
import numpy as np
import torch
from skorch.callbacks import Callback
from torch import nn

from sktorch import TorchClassifier
from tests.training.joint_fits import SETTINGS, Flowers, Linear, X, Y, classified, made_by, resumed


def is_second() -> bool:
    return os.environ.get("RANK") == "1"


class OnSecond(Callback):
    """Do something on rank 1 at the end of epoch 2."""

    def __init__(self, action):
        self.action = action

    def on_epoch_end(self, net, **_):
        if is_second() and len(net.history) == 2:
            self.action()


def raise_error():
    raise ValueError("a callback of mine")


class StopOnSecond(Callback):
    """Stop rank 1 after epoch 2, as callbacks of skorch do."""

    def on_epoch_end(self, net, **_):
        if is_second() and len(net.history) == 2:
            raise KeyboardInterrupt


class StopSecondWithin(Callback):
    """Stop rank 1 in a batch of epoch 2."""

    def on_batch_end(self, net, training=False, **_):
        if is_second() and len(net.history) == 2:
            raise KeyboardInterrupt


class Buffered(nn.Linear):
    """Has buffers of dtypes that gloo does not send."""

    def __init__(self, width=3):
        super().__init__(X.shape[1], 3, dtype=torch.float64)
        for dtype in (torch.int16, torch.bool, torch.complex64, torch.bfloat16):
            name = str(dtype).replace("torch.", "of_")
            self.register_buffer(name, torch.ones(width, dtype=dtype))


def buffered():
    """Return buffers, which rank 1 begins with as rank 0 does."""
    module = Buffered()
    if is_second():
        module.of_int16 += 1
    net = TorchClassifier(module, **SETTINGS).fit(X, Y)
    return [buffer.tolist() for buffer in net.module_.buffers()]


def shaped():
    """Fit a module that is wider on rank 1."""
    return TorchClassifier(Buffered(4 if is_second() else 3), **SETTINGS).fit(X, Y)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def timed(function) -> Any:
    """Return the value or the error of a function, and the seconds that it took."""
    start = time.monotonic()
    try:
        return function(), time.monotonic() - start
    except BaseException as error:
        return f"{type(error).__name__}: {error}", time.monotonic() - start


def on_second(given, otherwise):
    """Fit on other data on rank 1."""
    return classified(*(given if is_second() else otherwise))


def with_own(**parameters):
    """Fit with parameters of each rank."""
    return classified(**{name: values[is_second()] for name, values in parameters.items()})


def validated_on_second():
    rows = {"X_val": X[:30], "y_val": Y[:30]} if is_second() else {}
    return TorchClassifier(**SETTINGS).fit(X, Y, **rows).n_epochs_


def spoiled():
    with_nan = X.copy()
    with_nan[7, 1] = np.nan
    return with_nan


class Noisy(Linear):
    """Draws in training, and begins with weights that no seed decides."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, X):
        return self.layer(self.dropout(X))


def from_own_weights():
    torch.manual_seed(int(os.environ["RANK"]))
    module = Noisy()
    net = TorchClassifier(module, **SETTINGS | {"random_state": None, "early_stopping": True})
    return made_by(net.fit(X, Y))


def masks():
    """Return the outputs of a dropout that the first batch of this rank went through."""
    seen = []
    module = Noisy()
    module.dropout.register_forward_hook(lambda layer, args, output: seen.append(output == 0))
    TorchClassifier(module, **SETTINGS | {"batch_size": 50, "max_epochs": 1}).fit(X, Y)
    return next(mask.numpy() for mask in seen if len(mask) == 25)


class Loaded(Flowers):
    """Flowers that are counted, and come with noise."""

    def __init__(self):
        self.n_loaded, self.noise = 0, []

    def __getitem__(self, row):
        self.n_loaded += 1
        self.noise.append(float(torch.rand(())))
        return super().__getitem__(row)[0]


def loaded():
    """Return how many samples an epoch loads, with what noise, and the model."""
    flowers = Loaded()
    net = TorchClassifier(**SETTINGS | {"max_epochs": 1, "batch_size": 50}).fit(flowers, Y)
    before = flowers.n_loaded
    flowers.noise.clear()
    net.partial_fit(flowers, Y)
    n_examples = 2
    return flowers.n_loaded - before - n_examples, flowers.noise[n_examples:], made_by(net)


def printed():
    printing = io.StringIO()
    with redirect_stdout(printing):
        classified(verbose=1)
    return printing.getvalue()


def in_threads():
    fits = [joblib.delayed(reason)() for _ in range(2)]
    return joblib.Parallel(n_jobs=2, backend="threading")(fits)


def reason():
    """Return why steps are not replayed: it tells who trains."""
    return TorchClassifier(**SETTINGS).fit(X, Y).eager_reason_


CASES = {
    "other X": partial(on_second, (X + 1, Y), (X, Y)),
    "another order": partial(on_second, (X[::-1], Y[::-1]), (X, Y)),
    "other y": partial(on_second, (X, np.roll(Y, 1)), (X, Y)),
    "other parameter": partial(with_own, batch_size=(30, 20)),
    "other optimizer": partial(with_own, optimizer=("sgd", torch.optim.Adam)),
    "other criterion": partial(with_own, criterion=(nn.CrossEntropyLoss, nn.MultiMarginLoss)),
    "rows to validate on": validated_on_second,
    "bad row": partial(on_second, (spoiled(), Y), (X, Y)),
    "bad parameter": partial(with_own, lr=(0.1, "high")),
    "callback raises": partial(classified, callbacks=[OnSecond(raise_error)]),
    "bad everywhere": partial(classified, spoiled(), Y),
    "callback stops within": partial(classified, callbacks=[StopSecondWithin]),
    "other shapes": shaped,
    "equal numbers": partial(with_own, lr=(0.1, np.float64(0.1))),
    "after failures": classified,
    "buffers": buffered,
    "callback stops": partial(classified, callbacks=[StopOnSecond]),
    "own weights": from_own_weights,
    "resumed without a seed": partial(resumed, random_state=None),
    "masks": masks,
    "loaded": loaded,
    "printed": printed,
    "in threads": in_threads,
    "who trains": reason,
}
DEATH = partial(timed, partial(classified, callbacks=[OnSecond(die)]))
AFTER_DEATH = partial(timed, classified)


def cases() -> dict[str, Any]:
    """Return the value or the error of each case."""
    return {name: timed(function)[0] for name, function in CASES.items()}
