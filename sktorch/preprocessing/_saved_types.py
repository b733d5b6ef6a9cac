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

SAVED_TYPES: dict[str, Any] = {
    "sktorch.preprocessing.CategoryEncoder": CategoryEncoder,
    "sktorch.preprocessing.CircleEncoder": CircleEncoder,
    "sktorch.preprocessing.NumberEncoder": NumberEncoder,
    "sktorch.preprocessing.Output": Output,
    "sktorch.preprocessing.TableCleaner": TableCleaner,
    "numpy.float32": np.float32,
    "numpy.float64": np.float64,
}
