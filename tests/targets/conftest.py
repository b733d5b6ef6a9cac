"""Data that tests of targets share."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def blobs():
    """Three well separated classes: X of shape (45, 3), codes."""
    rng = np.random.RandomState(0)
    codes = np.arange(45) % 3
    return 3 * np.eye(3)[codes] + 0.3 * rng.randn(45, 3), codes
