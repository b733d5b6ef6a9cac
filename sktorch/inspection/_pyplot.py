"""What drawings share: matplotlib, imported where something is drawn, Axes, and labels."""

from typing import Any


def pyplot() -> Any:
    """Return ``matplotlib.pyplot``; raise ImportError that names the extra if it is missing."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"Drawing needs matplotlib, which can't be imported: {error}. "
            "Install it: pip install 'sktorch[plot]'."
        ) from error
    return plt


def axes_or_new(ax: Any, **figure: Any) -> Any:
    """Return the Axes given, or those of a new figure."""
    plt = pyplot()
    return plt.subplots(layout="constrained", **figure)[1] if ax is None else ax


def shortened(value: Any, longest: int) -> str:
    """Return a value as a label: one line of so many characters at most."""
    text = " ".join(str(value).split())
    return text if len(text) <= longest else text[: longest - 1] + "…"
