"""The data that the tests of callbacks train on."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def tumours(scaled):
    """Two classes, standardised; names for labels."""
    X, y = scaled("breast_cancer")
    return X, np.array(["malignant", "benign"])[y]
