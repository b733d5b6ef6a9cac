"""Settings that must stand before scipy is imported, and the data sets that tests share."""

import os
import signal

os.environ["SCIPY_ARRAY_API"] = "1"  # scikit-learn's array API checks are skipped without it.

import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.preprocessing import StandardScaler

LOADERS = {
    "iris": load_iris,
    "wine": load_wine,
    "breast_cancer": load_breast_cancer,
    "digits": load_digits,
}


@pytest.fixture(scope="session")
def scaled():
    """``scaled(name) -> (X, y)``: a data set of scikit-learn, standardised, float64."""

    def load(name):
        X, y = LOADERS[name](return_X_y=True)
        return StandardScaler().fit_transform(X), y

    return load


@pytest.fixture(scope="session")
def iris(scaled):
    return scaled("iris")


@pytest.fixture(scope="session")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="session")
def digits_images():
    """The digits as images: float32 of shape (1797, 1, 8, 8) between 0 and 1, and labels."""
    digits = load_digits()
    return (digits.images[:, None] / 16).astype("float32"), digits.target


@pytest.fixture(autouse=True, scope="session")
def ctrl_c():
    """A shell lets what it runs in the background ignore Ctrl-C; some tests press it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Small nets on shared cores are many times slower with several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def pressing():
    """A callback that presses Ctrl-C at the end of the first epoch that it sees."""
    from tests.fused.searches import Pressing  # after SCIPY_ARRAY_API is set

    Pressing.pressed.clear()
    return Pressing()
