"""Fits, searches of both kinds and interrupts in one process, for hours: is anything left behind?

    python tests/soak.py                    # 1,000 fits, 300 searches of both kinds, 200 interrupts
    python tests/soak.py --fits 100 --searches 30 --interrupts 20

Prints, after every 100 turns, the resident memory, threads, open files, traced functions that torch
keeps, and whether another thread can still fit. Ends with 1 if memory grew by more than --allowed
MiB after the first 100 turns, or if anything else was left behind.
"""

import argparse
import gc
import os
import random
import signal
import sys
import threading
import warnings

import joblib
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from sktorch import TorchClassifier
from sktorch.model_selection import HalvingSearchCV

X, y = load_digits(return_X_y=True)
X, y = (X[:300] / 16).astype(np.float32), y[:300]
GRID = {"lr": [1e-3, 1e-2], "module__dropout": [0.0, 0.2], "optimizer__weight_decay": [0, 1e-2]}


def net(**parameters):
    return TorchClassifier(**{"max_epochs": 3, "module__hidden": (16,)} | parameters)


def fit(turn):
    net(random_state=turn, early_stopping=turn % 2 == 0).fit(X, y).predict(X)


def search(turn):
    with joblib.parallel_config("sktorch"):
        GridSearchCV(net(random_state=turn, module__hidden=(8 + turn % 5,)), GRID, cv=3).fit(X, y)


def halving(turn):
    model = net(random_state=turn, early_stopping=turn % 2 == 0)
    HalvingSearchCV(model, GRID, cv=3, factor=2, min_resources=1).fit(X, y)


def resident_mib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def traced_functions():
    """How many functions torch.jit holds; private, and only looked at here."""
    unit = getattr(getattr(torch.jit, "_state", None), "_python_cu", None)
    return len(unit.get_functions()) if unit is not None else -1


def others_can_fit():
    thread = threading.Thread(target=fit, args=(0,), daemon=True)
    thread.start()
    thread.join(60)
    return not thread.is_alive()


def state():
    _, keys, position, *rest = np.random.get_state()
    return (
        random.getstate(),
        (keys.tobytes(), position, rest),
        torch.get_rng_state().numpy().tobytes(),
        torch.get_num_threads(),
        float(torch.tensor(1e-40) * 1) != 0,
    )


def report(name, turn):
    gc.collect()
    n_files = len(os.listdir("/proc/self/fd"))
    figures = resident_mib(), threading.active_count(), n_files, traced_functions()
    free = others_can_fit()
    line = "{:>10} {:>6}   {:8.1f} MiB {:4d} threads {:4d} files {:6d} traced   locks {}"
    print(line.format(name, turn, *figures, "free" if free else "HELD"), flush=True)
    return figures[0], free


def many(name, action, turns, every=100):
    """Repeat, and return by how much memory grew after the first report, and if all is free."""
    before, sizes, free = state(), [], True
    report(name, 0)
    for turn in range(1, turns + 1):
        action(turn)
        if turn % every == 0 or turn == turns:
            size, is_free = report(name, turn)
            sizes.append(size)
            free &= is_free
    growth = sizes[-1] - sizes[0] if len(sizes) > 1 else 0.0
    same = state() == before
    print(
        f"{name}: {growth:+.1f} MiB after the first {every}; state {'kept' if same else 'CHANGED'}"
    )
    return growth, free and same


class Clock:
    """Sends Ctrl-C to the main thread after a random time."""

    def __init__(self, seconds):
        self.timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))

    def __enter__(self):
        self.timer.start()

    def __exit__(self, *exception):
        self.timer.cancel()
        self.timer.join()


ACTIONS = {
    "fit": lambda fitted: fitted.fit(X, y),
    "search": lambda fitted: search(0),
    "halving": lambda fitted: halving(0),
    "predict": lambda fitted: [fitted.predict_proba(X) for _ in range(50)],
    "partial_fit": lambda fitted: fitted.partial_fit(X, y),
}


def whole(fitted):
    """Whether an estimator predicts, or says that it is not fitted."""
    try:
        return len(fitted.predict(X)) == len(X) and fitted.best_epoch_ <= fitted.n_epochs_
    except NotFittedError:
        return True


def interrupt(turn, draw=random.Random(0)):  # noqa: B008
    name = draw.choice([*ACTIONS])
    fitted = net(random_state=0, early_stopping=True).fit(X, y)
    before = state()
    try:
        with Clock(draw.uniform(0, 2.0 if name in ("search", "halving") else 0.3)):
            ACTIONS[name](fitted)
    except KeyboardInterrupt:
        pass
    if state() != before or not whole(fitted):
        print(f"turn {turn}, {name}: half a state is left", flush=True)
        interrupt.faults += 1


interrupt.faults = 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("fits", 1000), ("searches", 300), ("interrupts", 200), ("allowed", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    results = [
        many(name, action, turns)
        for name, action, turns in (
            ("fit", fit, options.fits),
            ("search", search, options.searches),
            ("halving", halving, options.searches),
            ("interrupt", interrupt, options.interrupts),
        )
        if turns
    ]
    grown = [growth for growth, _ in results if growth > options.allowed]
    sys.stdout.flush()
    # Threads that hang must not keep the process from ending.
    os._exit(int(bool(grown) or not all(free for _, free in results) or interrupt.faults > 0))


if __name__ == "__main__":
    main()
