"""What was recorded after each epoch of the fits of a search, as columns."""

from typing import Any

import numpy as np

History = list[dict[str, float]]  # an epoch's numbers by name


class LearningCurves:
    """The histories of fits, by candidate and fold."""

    def __init__(self) -> None:
        self._histories: dict[tuple[int, int], list[History]] = {}

    def set(self, candidate: int, split: int, histories: list[History]) -> None:
        """Keep the histories of a candidate's fits on a fold, in place of an earlier rung's."""
        self._histories[candidate, split] = histories

    def table(self) -> dict[str, Any]:
        """Return an array for each column: candidate, split, fit, epoch, and what was recorded."""
        rows = [
            {"candidate": candidate, "split": split, "fit": number, "epoch": epoch, **numbers}
            for (candidate, split), histories in sorted(self._histories.items())
            for number, history in enumerate(histories)
            for epoch, numbers in enumerate(history, start=1)
        ]
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}
