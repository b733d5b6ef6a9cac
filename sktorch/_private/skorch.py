"""Private names of skorch."""

from skorch import NeuralNet


def callback_names(net: NeuralNet) -> list[str]:
    """Return the names of a net's callbacks before they are initialised.

    skorch silently drops a parameter of an unknown callback. Without the name, every fit fails.
    """
    return [name for name, _ in net._uniquely_named_callbacks()]
