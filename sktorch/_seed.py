"""The seed of a training."""

import secrets
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sktorch._errors import errors_name


def resolve_seed(random_state: Any) -> int:
    """Return a seed of 32 bits: an int as it is, a draw of a generator, or fresh entropy."""
    if random_state is None:
        return secrets.randbits(32)
    if isinstance(random_state, int | np.integer) and 0 <= random_state < 2**32:
        return int(random_state)
    with errors_name("random_state"):
        return int(check_random_state(random_state).randint(2**31))
