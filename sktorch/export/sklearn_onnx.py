"""Converters with which sklearn-onnx exports pipelines that end in a net."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sktorch._classifier import TorchClassifier
from sktorch._estimator import TorchEstimator
from sktorch._regressor import TorchRegressor
from sktorch.data.source import n_inputs
from sktorch.data.structure import tree_leaves
from sktorch.export.needs import imported
from sktorch.export.programs import program
from sktorch.targets.indicators import Indicators

_NAMES = {
    torch.float32: "FloatTensorType",
    torch.float64: "DoubleTensorType",
    torch.float16: "Float16TensorType",
}


def register_converters() -> None:
    """Let ``skl2onnx.to_onnx`` export pipelines with a `TorchClassifier` or `TorchRegressor`.

    The outputs are those that sklearn-onnx gives any classifier, "label" and "probabilities", and
    any regressor: "variable", of shape (n_samples, n_targets). Call it as often as you like.

    Raises
    ------
    ImportError
        If skl2onnx is missing; the extra "export" installs it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> import sktorch
    >>> X, y = load_iris(return_X_y=True)
    >>> net = sktorch.TorchClassifier(max_epochs=5)
    >>> pipeline = make_pipeline(StandardScaler(), net).fit(X.astype("float32"), y)
    >>> from sktorch.export import register_converters
    >>> register_converters()  # doctest: +SKIP
    >>> skl2onnx.to_onnx(pipeline, X[:1].astype("float32"))  # doctest: +SKIP
    """
    register = imported("skl2onnx").update_registered_converter
    options = {
        "zipmap": [True, False, "columns"],
        "output_class_labels": [False, True],
        "nocl": [True, False],
    }
    register(TorchClassifier, "SktorchClassifier", _set_classes, _convert, options=options)
    register(TorchRegressor, "SktorchRegressor", _set_numbers, _convert)


class _ForColumns(nn.Module):
    """A predictor of codes and probabilities, or of numbers, from columns of any dtype."""

    def __init__(self, estimator: TorchEstimator) -> None:
        super().__init__()
        self.predictor = estimator.to_module().cpu()
        self.codec, self.dtype = estimator.codec_, _input_dtype(estimator)

    def forward(self, *columns: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return encoded labels and their probabilities, or numbers, (n_rows, n_targets)."""
        X = torch.cat([column.to(self.dtype) for column in columns], dim=1)
        output = self.predictor.network(X)
        predicted = self.predictor.decoding(output)
        if self.codec.classes is None:
            return predicted.reshape(predicted.shape[0], -1)
        return self.codec.predicted(self.predictor.decoding.criterion, output), predicted


def _set_classes(operator: Any) -> None:
    """Set the types of a classifier's outputs."""
    types = imported("skl2onnx.common.data_types")
    estimator = operator.raw_operator
    _check(estimator)
    codec, n_rows = estimator.codec_, operator.inputs[0].get_first_dimension()
    is_text = codec.classes.dtype.kind in "OUS"
    label = types.StringTensorType if is_text else types.Int64TensorType
    width = len(codec.classes)
    columns = [width] if isinstance(codec.targets, Indicators) else []
    operator.outputs[0].type = label([n_rows, *columns])
    zipmap = operator.scope_inst.get_options(estimator, {"zipmap": True})["zipmap"]
    number = types.FloatTensorType if zipmap is True else _tensor_type(estimator)
    operator.outputs[1].type = number([n_rows, width])  # ONNX zips float32 only.


def _set_numbers(operator: Any) -> None:
    """Set the type of a regressor's output."""
    estimator = operator.raw_operator
    _check(estimator)
    n_rows = operator.inputs[0].get_first_dimension()
    operator.outputs[0].type = _tensor_type(estimator)([n_rows, None])


def _check(estimator: TorchEstimator) -> None:
    """Raise for an estimator whose inputs or labels sklearn-onnx has no types for."""
    shape = getattr(estimator, "input_shape_", ())
    if isinstance(shape, dict) or n_inputs(shape) > 1 or len(shape) != 1 or None in shape:
        raise ValueError(
            f"The {type(estimator).__name__} in the pipeline was fitted on samples of shape "
            f"{shape}; sklearn-onnx knows rows of columns. Export the net alone, by "
            "sktorch.export.onnx(estimator, path)."
        )
    classes = estimator.codec_.classes
    if isinstance(classes, list) or (classes is not None and classes.dtype.kind not in "biuOUS"):
        raise ValueError(
            "sklearn-onnx has labels that are integers or strings, in one column, and the "
            f"classes are {classes!r}. Export the net alone, by "
            "sktorch.export.onnx(estimator, path)."
        )


def _input_dtype(estimator: TorchEstimator) -> torch.dtype:
    (dtype,) = tree_leaves(estimator.net_.input_dtypes_)
    return dtype


def _tensor_type(estimator: TorchEstimator) -> Any:
    """Return sklearn-onnx's type for what an estimator predicts."""
    module = estimator.to_module().cpu()
    example = torch.zeros(2, *estimator.input_shape_, dtype=_input_dtype(estimator))
    with torch.no_grad():
        predicted = module(example)
    return getattr(imported("skl2onnx.common.data_types"), _NAMES[predicted.dtype])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Add the nodes of an estimator's program to the graph of a pipeline."""
    estimator, prefix = operator.raw_operator, scope.get_unique_operator_name("sktorch") + "_"
    is_classifier = estimator.codec_.classes is not None
    names = [f"X{position}" for position in range(len(operator.inputs))]
    results = ["codes", "probabilities"] if is_classifier else ["numbers"]
    example = tuple(_zeros(variable) for variable in operator.inputs)
    module, opset = _ForColumns(estimator).eval(), container.target_opset_onnx
    model = program(module, example, names, results, opset)
    _check_nodes(model)
    model = imported("onnx.compose").add_prefix(model, prefix)
    container.initializers.extend(model.graph.initializer)
    container.node_domain_version_pair_sets.update(
        (opset.domain, opset.version) for opset in model.opset_import
    )
    for variable, name in zip(operator.inputs, names, strict=True):
        _add_node(container, "Identity", [variable.onnx_name], prefix + name)
    container.nodes.extend(model.graph.node)
    if is_classifier:
        _add_labels(container, prefix, estimator, operator.outputs[0].onnx_name)
    to = imported("skl2onnx.common.data_types").guess_proto_type(operator.outputs[-1].type)
    numbers = operator.outputs[-1].onnx_name
    _add_node(container, "Cast", [prefix + results[-1]], numbers, to=to)


def _add_node(container: Any, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
    node = imported("onnx.helper").make_node(kind, inputs, [output], **attributes)
    container.nodes.append(node)


def _add_labels(container: Any, prefix: str, estimator: TorchEstimator, output: str) -> None:
    """Add the node that makes labels of codes; indicators are labels already."""
    codes, classes = f"{prefix}codes", estimator.codec_.classes
    if isinstance(estimator.codec_.targets, Indicators):
        _add_node(container, "Identity", [codes], output)
        return
    plain = classes.astype(object if classes.dtype.kind in "OUS" else np.int64)
    labels = imported("onnx.numpy_helper").from_array(plain, f"{prefix}classes")
    container.initializers.append(labels)
    _add_node(container, "Gather", [labels.name, codes], output)


def _check_nodes(model: Any) -> None:
    """Raise for an operator without an optional input, which sklearn-onnx can't put in order."""
    without = {node.op_type for node in model.graph.node if "" in node.input}
    if without:
        raise ValueError(
            f"The net needs {', '.join(sorted(without))} of ONNX without optional inputs, and "
            "sklearn-onnx can't order such operators. Export the net alone, by "
            "sktorch.export.onnx(estimator, path)."
        )


def _zeros(variable: Any) -> Tensor:
    """Return two rows of a variable's type and width."""
    dtype = imported("skl2onnx.common.data_types").guess_numpy_type(variable.type)
    width = variable.get_second_dimension() or 1
    return torch.from_numpy(np.zeros((2, width), dtype))
