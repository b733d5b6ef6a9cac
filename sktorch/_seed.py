"""The seed of a training."""

import secrets
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from sktorch._checkpoint import stored_seed
from sktorch._errors import errors_name


def seed_of(estimator: BaseEstimator, *, partial: bool) -> int:
    """Return the seed of a fit: without random_state that of its checkpoint, if there is one."""
    stored = None
    if estimator.checkpoint is not None and estimator.random_state is None and not partial:
        stored = stored_seed(estimator.checkpoint)
    return resolve_seed(estimator.random_state) if stored is None else stored


def resolve_seed(random_state: Any) -> int:
    """Return a seed of 32 bits: an int as it is, a draw of a generator, or fresh entropy."""
    if random_state is None:
        return secrets.randbits(32)
    if isinstance(random_state, int | np.integer) and 0 <= random_state < 2**32:
        return int(random_state)
    with errors_name("random_state"):
        return int(check_random_state(random_state).randint(2**31))
