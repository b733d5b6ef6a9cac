"""What the HTML of a fitted estimator shows beside its parameters: its module and its losses."""

from typing import Any

import numpy as np

from sktorch.inspection._histories import LOSSES, History, history_of, label_of
from sktorch.inspection._summary import summary

WIDTH, HEIGHT = 320, 120
MAX_POINTS = 200  # of a line: more are not to be seen
COLORS = ("#1f77b4", "#ff7f0e")


def details_html(fitted: Any) -> str:
    """Return the summary of a fitted estimator's module, and its losses by epoch."""
    table = _details("Module", summary(fitted)._repr_html_())
    history = history_of(fitted.history_)
    losses = {name: history[name] for name in LOSSES if name in history}
    return table + (_details("Losses by epoch", curves_svg(losses)) if losses else "")


def curves_svg(losses: History) -> str:
    """Return curves as inline SVG, with their names and the limits of both axes."""
    known = np.concatenate([values[np.isfinite(values)] for values in losses.values()])
    n_epochs = max(map(len, losses.values()))
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    parts = []
    for number, (name, values) in enumerate(losses.items()):
        color = COLORS[number % len(COLORS)]
        parts.append(_line(values, n_epochs, low, high, color))
        parts.append(_text(WIDTH - 4, 14 + 14 * number, label_of(name), "end", color))
    grey = "grey"
    parts += [
        _text(2, 10, f"{high:.3g}", "start", grey),
        _text(2, HEIGHT - 14, f"{low:.3g}", "start", grey),
        _text(40, HEIGHT - 2, "epoch 1", "start", grey),
        _text(WIDTH - 4, HEIGHT - 2, str(n_epochs), "end", grey),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'aria-label="losses by epoch">{"".join(parts)}</svg>'
    )


def _line(values: np.ndarray, n_epochs: int, low: float, high: float, color: str) -> str:
    """Return a line through the finite values of some epochs."""
    epochs = np.flatnonzero(np.isfinite(values))
    epochs = epochs[np.linspace(0, len(epochs) - 1, min(len(epochs), MAX_POINTS)).astype(int)]
    left, right, top, bottom = 44, WIDTH - 6, 6, HEIGHT - 18
    x = left + (right - left) * epochs / max(n_epochs - 1, 1)
    y = bottom - (bottom - top) * (values[epochs] - low) / ((high - low) or 1.0)
    if len(x) == 1:
        return f'<circle cx="{x[0]:.1f}" cy="{y[0]:.1f}" r="2" fill="{color}"/>'
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.5"/>'


def _text(x: int, y: int, text: str, anchor: str, color: str) -> str:
    style = f'font-size="10" font-family="sans-serif" fill="{color}" text-anchor="{anchor}"'
    return f'<text x="{x}" y="{y}" {style}>{text}</text>'


def _details(title: str, content: str) -> str:
    """Return a part that unfolds, in the style of scikit-learn's."""
    return (
        f'<div class="estimator-table"><details><summary>{title}</summary>{content}</details></div>'
    )
