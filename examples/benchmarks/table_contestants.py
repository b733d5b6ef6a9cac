"""
Contestants for tables
======================

Estimators with their defaults, each with the preparation that its documentation asks for.
"""

import logging
import warnings
from importlib import import_module

import numpy as np
from sklearn.compose import (
    TransformedTargetRegressor,
    make_column_selector,
    make_column_transformer,
)
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from sktorch import TorchClassifier, TorchRegressor
from sktorch.preprocessing import make_cleaner

SEED = 0
MOST_ONE_HOT = 300  # categories of a column

warnings.simplefilter("ignore", ConvergenceWarning)  # of MLPClassifier, which has its 200 epochs


def tabular(is_classifier):
    """The subject: raw tables as they are."""
    sktorch = import_module("sktorch")
    kind = sktorch.TabularClassifier if is_classifier else sktorch.TabularRegressor
    return kind(random_state=SEED)


def torch_raw(is_classifier):
    """The net with no module, on raw numbers; categories are one-hot."""
    kind = TorchClassifier if is_classifier else TorchRegressor
    return make_pipeline(
        filled(OneHotEncoder(handle_unknown="ignore")), as_float32, kind(random_state=SEED)
    )


def boosting(is_classifier):
    """Trees that see by the dtype of the cleaner's codes that they are categories."""
    kind = HistGradientBoostingClassifier if is_classifier else HistGradientBoostingRegressor
    return make_pipeline(make_cleaner(max_one_hot=0), kind(random_state=SEED))


def forest(is_classifier):
    """A forest; all categories are one-hot."""
    kind = RandomForestClassifier if is_classifier else RandomForestRegressor
    return make_pipeline(make_cleaner(max_one_hot=MOST_ONE_HOT), kind(random_state=SEED))


def mlp(is_classifier):
    """scikit-learn's net, on scaled numbers; all categories are one-hot."""
    cleaner = make_cleaner(max_one_hot=MOST_ONE_HOT)
    if is_classifier:
        return make_pipeline(cleaner, MLPClassifier(random_state=SEED))
    net = MLPRegressor(random_state=SEED)
    return make_pipeline(cleaner, TransformedTargetRegressor(net, transformer=StandardScaler()))


def realmlp(is_classifier):
    """RealMLP with tuned defaults, the simple one, of pytabkit; it takes no missing numbers."""
    pytabkit = import_module("pytabkit")
    for library in ("lightning", "pytorch_lightning"):
        logging.getLogger(library).setLevel(logging.ERROR)  # several lines a fit
    kind = pytabkit.RealMLP_TD_S_Classifier if is_classifier else pytabkit.RealMLP_TD_S_Regressor
    net = kind(device="cpu", n_threads=1, random_state=SEED, verbosity=0)
    return make_pipeline(filled("passthrough").set_output(transform="pandas"), as_objects, net)


def filled(categories):
    """Missing numbers as medians, and what is to become of categories."""
    numbers = make_column_selector(dtype_include=np.number)
    others = make_column_selector(dtype_exclude=np.number)
    return make_column_transformer(
        (SimpleImputer(strategy="median"), numbers),
        (categories, others),
        sparse_threshold=0,
        verbose_feature_names_out=False,
    )


def text_as_objects(X):
    """pytabkit knows text by the dtype object, with no value missing."""
    text = X.select_dtypes(exclude="number").columns
    return X.assign(**{name: X[name].astype(object).fillna("?") for name in text})


as_objects = FunctionTransformer(text_as_objects)
as_float32 = FunctionTransformer(np.asarray, kw_args={"dtype": np.float32})

CONTESTANTS = {
    "Tabular": tabular,
    "HistGradientBoosting": boosting,
    "RandomForest": forest,
    "RealMLP-TD-S": realmlp,
    "MLP": mlp,
    "Torch": torch_raw,
}


def available(names):
    """The contestants of these names that are there, and for the others why they are not."""
    there, absent = {}, {}
    for name in names:
        try:
            CONTESTANTS[name](is_classifier=True)
            there[name] = CONTESTANTS[name]
        except ModuleNotFoundError as error:
            absent[name] = f"{error}; pip install {error.name}"
        except AttributeError as error:
            absent[name] = str(error)
    return there, absent
