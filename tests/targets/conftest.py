"""Data that tests of targets share."""

import numpy as np
import pandas as pd
import pytest

from tests.targets.samples import N_ROWS


@pytest.fixture(scope="module")
def blobs():
    """Three well separated classes: X of shape (45, 3), codes."""
    rng = np.random.RandomState(0)
    codes = np.arange(45) % 3
    return 3 * np.eye(3)[codes] + 0.3 * rng.randn(45, 3), codes


@pytest.fixture(scope="module")
def digits(scaled):
    X, y = scaled("digits")
    return X[:N_ROWS], y[:N_ROWS]


@pytest.fixture(scope="module")
def indicators(digits):
    """Whether a digit is even, a multiple of three, above four."""
    X, y = digits
    return X, np.column_stack([y % 2 == 0, y % 3 == 0, y > 4]).astype(int)


@pytest.fixture(scope="module")
def columns(digits):
    """A digit's parity, and its remainder by three in words."""
    X, y = digits
    return X, np.column_stack(
        [np.array(["even", "odd"])[y % 2], np.array(["zero", "one", "two"])[y % 3]]
    )


@pytest.fixture(scope="module")
def mixed(digits):
    """Words in one column and numbers in the other."""
    X, y = digits
    return X, pd.DataFrame({"parity": np.array(["even", "odd"])[y % 2], "remainder": y % 3})
