"""A classifier for tests of several labels a row."""

from sktorch import TorchClassifier

N_ROWS = 300


def net(**parameters):
    defaults = {"lr": 0.02, "max_epochs": 8, "batch_size": 64, "random_state": 0, "device": "cpu"}
    return TorchClassifier(**(defaults | parameters))
