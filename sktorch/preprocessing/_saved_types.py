"""What a fitted cleaner is made of, by the names that it has in saved files."""

from typing import Any

import numpy as np

from sktorch.preprocessing._cleaner import TableCleaner
from sktorch.preprocessing._encoders import (
    CategoryEncoder,
    CircleEncoder,
    NumberEncoder,
    Output,
)

CLEANER_TYPES = (CategoryEncoder, CircleEncoder, NumberEncoder, Output, TableCleaner)

SAVED_TYPES: dict[str, Any] = {
    **{f"sktorch.preprocessing.{kind.__name__}": kind for kind in CLEANER_TYPES},
    "numpy.float32": np.float32,
    "numpy.float64": np.float64,
}
