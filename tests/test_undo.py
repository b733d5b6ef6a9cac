"""A fit that is interrupted, wherever that is, has changed nothing or is complete."""

import copy
import signal

import numpy as np
import pytest
import torch
from torch import nn

from sktorch import TorchClassifier
from sktorch.training.randomness import RandomStream, draws_by_stream
from sktorch.training.settings import OF_TRAINING
from tests.training.interrupting import in_another_thread, interrupted_everywhere

FILES = ("_undo.py", "_estimator.py", "interrupts.py", "stopping.py", "settings.py")


def data():
    X = np.random.RandomState(0).randn(30, 4).astype("float32")
    return X, (X[:, 0] > 0).astype(int)


def fitted_model(**parameters):
    settings = {"max_epochs": 2, "batch_size": 15, "random_state": 0, "device": "cpu"}
    return TorchClassifier(**settings | parameters).fit(*data())


def seen(model):
    """Return what an interrupted fit might leave by halves."""
    weights = [tensor.tolist() for tensor in model.module_.state_dict().values()]
    numbers = RandomStream.__getstate__(model.net_.stream_)["states"]["cpu"].tolist()
    return model.best_epoch_, model.n_epochs_, model.loss_curve_, weights, numbers


@pytest.mark.filterwarnings("ignore:Training was interrupted in epoch 1 of 1")
@pytest.mark.parametrize("parameters", [{}, {"warm_start": True, "max_epochs": 1}], ids=str)
def test_an_interrupt_leaves_the_old_fit_whole_or_the_new_one(parameters):
    def further(model):
        return model.fit(*data()) if "warm_start" in parameters else model.partial_fit(*data())

    fitted = fitted_model(**parameters)
    old, new = seen(fitted), seen(further(copy.deepcopy(fitted)))
    settings, models, found = [setting.read() for setting in OF_TRAINING], [], []

    def fit():
        models.clear()
        models.append(copy.deepcopy(fitted))
        further(models[0])

    for _ in interrupted_everywhere(fit, FILES, after_calls=True):
        if models:  # else the copy was interrupted
            found.append(seen(models[0]))
            assert found[-1] in (old, new)
        assert [setting.read() for setting in OF_TRAINING] == settings
    assert found[0] == old
    assert seen(models[0]) == new
    assert in_another_thread(fitted_model)


class Pressing(nn.Module):
    """Presses Ctrl-C in eval mode, once asked to."""

    pressed = False

    def __init__(self, n_features, n_outputs):
        super().__init__()
        self.linear = nn.Linear(n_features, n_outputs)

    def forward(self, X):
        noise = torch.from_numpy(np.random.randn(*X.shape).astype("float32"))
        if Pressing.pressed:
            signal.raise_signal(signal.SIGINT)
        return self.linear(X + noise)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("method", ["predict", "predict_proba", "score"])
def test_ctrl_c_in_a_prediction(monkeypatch, precision, method):
    model = fitted_model(module=Pressing, precision=precision)
    settings, state = [setting.read() for setting in OF_TRAINING], np.random.get_state()[1].tolist()
    X, y = data()
    monkeypatch.setattr(Pressing, "pressed", True)
    with pytest.raises(KeyboardInterrupt):
        getattr(model, method)(*((X, y) if method == "score" else (X,)))
    monkeypatch.setattr(Pressing, "pressed", False)
    assert [setting.read() for setting in OF_TRAINING] == settings
    assert np.random.get_state()[1].tolist() == state
    assert not draws_by_stream()
    assert in_another_thread(lambda: model.predict(X))
