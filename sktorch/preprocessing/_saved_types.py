"""What a fitted cleaner is made of, by the names that it has in saved files."""

from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
)

from sktorch.preprocessing._cleaner import TableCleaner
from sktorch.preprocessing._encoders import add_one, bend, clip, is_outside, outlier_names

SAVED_TYPES: dict[str, Any] = {
    "sktorch.preprocessing.TableCleaner": TableCleaner,
    "sktorch.preprocessing.add_one": add_one,
    "sktorch.preprocessing.bend": bend,
    "sktorch.preprocessing.clip": clip,
    "sktorch.preprocessing.is_outside": is_outside,
    "sktorch.preprocessing.outlier_names": outlier_names,
    "sklearn.compose.ColumnTransformer": ColumnTransformer,
    "sklearn.impute.MissingIndicator": MissingIndicator,
    "sklearn.impute.SimpleImputer": SimpleImputer,
    "sklearn.pipeline.Pipeline": Pipeline,
    "sklearn.preprocessing.FunctionTransformer": FunctionTransformer,
    "sklearn.preprocessing.MinMaxScaler": MinMaxScaler,
    "sklearn.preprocessing.OneHotEncoder": OneHotEncoder,
    "sklearn.preprocessing.OrdinalEncoder": OrdinalEncoder,
    "sklearn.preprocessing.RobustScaler": RobustScaler,
    "numpy.float32": np.float32,
    "numpy.float64": np.float64,
}
