"""Fitted estimators as ONNX files."""

import json
import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sktorch._estimator import TorchEstimator
from sktorch.data.source import n_inputs
from sktorch.data.structure import tree_leaves
from sktorch.export.needs import imported
from sktorch.export.programs import OPSET, program
from sktorch.persistence.files import write_whole

N_ROWS = 2  # of an example; one row might be taken for a constant


def onnx(estimator: TorchEstimator, path: str | os.PathLike, *, opset: int = OPSET) -> None:
    """Write what a fitted estimator predicts to an ONNX file, for batches of any size.

    The program does what ``estimator.to_module()`` does. A single input is named "X", several have
    the names of the arguments of the module's ``forward``. The output of a classifier is
    "probabilities", or "probabilities_0" and so on for several columns of labels; that of a
    regressor is "prediction". Of the metadata, "classes" holds the labels in the order of the
    columns, as JSON.

    Parameters
    ----------
    estimator : TorchClassifier or TorchRegressor
        A fitted estimator. For a pipeline, call `register_converters` and ``skl2onnx.to_onnx``.
    path : str or path-like
        The file. It is replaced as a whole, or stays as it was.
    opset : int, default=18
        The version of ONNX's operators.

    Raises
    ------
    ImportError
        If onnx or onnxscript is missing; the extra "export" installs them.
    TypeError
        If the estimator is none of sktorch's.
    NotFittedError
        If the estimator is not fitted.
    ValueError
        If it was fitted on sequences of differing lengths, or ONNX can't express its module.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import sktorch
    >>> from sktorch.export import onnx
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = sktorch.TorchClassifier(max_epochs=5).fit(X.astype("float32"), y)
    >>> onnx(classifier, "iris.onnx")  # doctest: +SKIP
    """
    if not isinstance(estimator, TorchEstimator):
        raise TypeError(
            f"estimator is a {type(estimator).__name__}; expected a TorchClassifier or "
            "TorchRegressor. For a pipeline, call sktorch.export.register_converters() and "
            "skl2onnx.to_onnx(pipeline, X[:1])."
        )
    module = estimator.to_module().cpu()
    names, inputs = _example(estimator)
    model = program(module, inputs, names, _output_names(estimator), opset)
    metadata = {"estimator": type(estimator).__name__}
    if estimator.codec_.classes is not None:
        metadata["classes"] = json.dumps(_plain(estimator.codec_.classes), default=str)
    imported("onnx.helper").set_model_props(model, metadata)
    write_whole(path, model.SerializeToString())


def _example(estimator: TorchEstimator) -> tuple[list[str], Any]:
    """Return the names of the inputs, and a few rows of zeros."""
    shape, net = estimator.input_shape_, estimator.net_
    if not isinstance(shape, dict) and None in shape:
        raise ValueError(
            "The estimator was fitted on sequences of differing lengths, which reach the module "
            "padded, with their lengths. sktorch.export.onnx writes inputs of one shape. Pad them, "
            "or export estimator.to_module() by torch.onnx.export."
        )
    inputs = _zeros(shape, net.input_dtypes_)
    if isinstance(inputs, Tensor):
        return ["X"], inputs
    n = len(tree_leaves(inputs))
    arguments = [*inputs] if isinstance(inputs, dict) else [*(net.arguments_ or ())][:n]
    return (arguments if len(arguments) == n else [f"X{i}" for i in range(n)]), inputs


def _zeros(shape: Any, dtypes: Any) -> Any:
    if isinstance(shape, dict):
        return {name: _zeros(shape[name], dtypes[name]) for name in shape}
    if n_inputs(shape) > 1:
        return tuple(_zeros(*pair) for pair in zip(shape, dtypes, strict=True))
    return torch.zeros(N_ROWS, *shape, dtype=dtypes)


def _output_names(estimator: TorchEstimator) -> list[str]:
    classes = estimator.codec_.classes
    if classes is None:
        return ["prediction"]
    if isinstance(classes, list):
        return [f"probabilities_{column}" for column in range(len(classes))]
    return ["probabilities"]


def _plain(classes: np.ndarray | list[np.ndarray]) -> list:
    return [_plain(c) for c in classes] if isinstance(classes, list) else classes.tolist()
