"""How far a search is, for whoever waits for it: a line every few seconds."""

import math
import time

INTERVAL = 5.0  # seconds between two lines


class Progress:
    """Counts what meets and what ends, and says so now and then.

    Parameters
    ----------
    report : callable
        Told a line of text.
    """

    def __init__(self, report):
        self._report, self._last = report, time.monotonic()
        self._n_ended = self._n_models = self._n_epochs = 0
        self._loss, self._score = math.inf, -math.inf

    def met(self, passes):
        """Note the epochs that models went through together; perhaps say a line."""
        trained = [one for one in passes if one.optimizer is not None and one.losses]
        self._n_models = len(trained) or self._n_models
        self._n_epochs += len(trained)
        losses = [sum(one.losses) / len(one.losses) for one in trained]
        self._loss = min([self._loss, *losses])
        if time.monotonic() - self._last >= INTERVAL:
            self.say()

    def ended(self, value):
        """Note what a task returned."""
        self._n_ended += 1
        for part in value if isinstance(value, list) else ():
            # What a task of scikit-learn's cross-validation returns. Where it is anything else, no
            # score is known here, and none is said.
            score = part.get("test_scores") if isinstance(part, dict) else None
            if isinstance(score, float):
                self._score = max(self._score, score)

    def say(self):
        """Say how far it is, if any model was trained."""
        if not self._n_epochs:
            return
        self._last = time.monotonic()
        line = f"{self._n_models} models, {self._n_epochs} epochs of all models trained"
        if math.isfinite(self._loss):
            line += f", lowest training loss {self._loss:.4g}"
        if math.isfinite(self._score):
            line += f", best score {self._score:.4g}"
        self._report(f"{line}, {self._n_ended} tasks done")
