"""Several processes train the model that one trains."""

import numpy as np
import pytest

from tests.training.joint_fits import FITS
from tests.training.ranks import run_ranks


@pytest.fixture(scope="module")
def by_ranks():
    """The values of all fits, by name, of each rank."""
    return [dict(zip(FITS, values, strict=False)) for values in run_ranks(*FITS.values())]


def assert_same(value, expected):
    """Compare numbers in dicts and lists."""
    if isinstance(expected, dict):
        assert value.keys() == expected.keys()
        pairs = [(value[name], expected[name]) for name in expected]
    elif isinstance(expected, list):
        assert len(value) == len(expected)
        pairs = list(zip(value, expected, strict=True))
    else:
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-9)
        return
    for pair in pairs:
        assert_same(*pair)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FITS)
def test_processes_train_the_model_of_one(name, by_ranks):
    expected = FITS[name]()
    for values in by_ranks:
        assert_same(values[name], expected)
