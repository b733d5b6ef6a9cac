"""Private names of other libraries: all in one place, and all there in the installed versions."""

import ast
import inspect
import warnings
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest
import torch
from sklearn.base import clone
from sklearn.callback import ScoringMonitor
from skorch.callbacks import EpochScoring
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

import sktorch
from sktorch import TorchClassifier
from sktorch._private import scikit_learn, skorch
from sktorch._private import torch as private
from sktorch._private.torch import schema
from sktorch.preprocessing import TableCleaner

LIBRARIES = ("sklearn", "skops", "skorch", "torch")
ROOT = Path(sktorch.__file__).parent
TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8"))
    for path in sorted(ROOT.rglob("*.py"))
}
ELSEWHERE = {name: tree for name, tree in TREES.items() if not name.startswith("_private/")}


def is_private(name):
    return name.startswith("_") and not name.startswith("__") and name != "_"


def imported(tree):
    """Yield the private parts of the imports from the libraries."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            if name.partition(".")[0] in LIBRARIES:
                yield from filter(is_private, name.split("."))


def used(tree):
    """Yield private names of attributes and keyword arguments."""
    for node in ast.walk(tree):
        name = getattr(node, "attr", None) or getattr(node, "arg", None)
        if isinstance(node, ast.Attribute | ast.keyword) and name and is_private(name):
            yield name


def texts(tree):
    """Yield the texts of a file, some of which are names for getattr."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def defined(tree):
    """Yield the names that a file defines or assigns to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr


def union(extract, trees):
    return set().union(*map(extract, trees))


KEPT = [tree for name, tree in TREES.items() if name not in ELSEWHERE]
OWNED = union(used, KEPT) | union(imported, KEPT) | set(filter(is_private, union(texts, KEPT)))
DEFINED = union(defined, ELSEWHERE.values()) - OWNED


@pytest.mark.parametrize("name", ELSEWHERE)
def test_no_other_file_uses_a_private_name_of_the_libraries(name):
    tree = ELSEWHERE[name]
    found = {*imported(tree), *(set(used(tree)) - DEFINED), *OWNED.intersection(texts(tree))}
    assert not found


def test_no_other_class_overrides_a_private_method_of_the_libraries():
    by_metaclass = {"_abc_impl", "_backward_cls", "_sklearn_auto_wrap_output_keys"}
    for module in walk_packages(sktorch.__path__, "sktorch."):
        for cls in vars(import_module(module.name)).values():
            if not inspect.isclass(cls) or not cls.__module__.startswith("sktorch."):
                continue
            bases = [b for b in cls.__mro__ if b.__module__.partition(".")[0] in LIBRARIES]
            own = set(filter(is_private, vars(cls))) - by_metaclass
            is_owner = cls.__module__.startswith("sktorch._private.")
            assert is_owner or own.isdisjoint(union(vars, bases)), cls


def test_the_schema_and_the_overload_name_of_an_operation():
    operation = torch.ops.aten.add_.Tensor
    assert isinstance(operation, private.OpOverload)
    assert schema(operation).is_mutable
    assert [argument.name for argument in schema(operation).arguments] == ["self", "other", "alpha"]
    assert private.overload_name(operation) == "Tensor"
    assert hasattr(torch.ops.aten, private.UNSAFE_VIEW)


def test_recurrent_layers_hold_their_parameters_twice():
    assert vars(nn.GRU(1, 1)).keys() >= private.RECURRENT_ALIASES


def test_torchscript_runs_unoptimized_and_the_setting_is_restored():
    seen = []

    def function(number):
        seen.append(torch._C._get_graph_executor_optimize())
        if number < 0:
            raise ValueError(number)
        return number

    run = private.unoptimized(function)
    assert run(3) == 3
    with pytest.raises(ValueError, match="-1"):
        run(-1)
    assert seen == [False, False]
    assert torch._C._get_graph_executor_optimize()


def test_the_version_of_a_tensor_counts_writes():
    tensor = torch.zeros(2)
    before = private.version(tensor)
    tensor.add_(1)
    assert private.version(tensor) == before + 1


@pytest.mark.parametrize("register", ["register_hook", "register_post_accumulate_grad_hook"])
def test_hooks_of_tensors_are_found(register):
    tensor = torch.zeros(2, requires_grad=True)
    assert not private.tensor_has_hooks(tensor)
    getattr(tensor, register)(lambda gradient: None)
    assert private.tensor_has_hooks(tensor)


@pytest.mark.parametrize(
    "register",
    [name for name in dir(nn.Module) if name.startswith("register_") and name.endswith("_hook")],
)
def test_hooks_of_modules_are_found(register):
    module = nn.Linear(1, 1)
    assert not private.module_has_hooks(module)
    getattr(module, register)(lambda *arguments: None)
    assert private.module_has_hooks(module)


def test_hooks_of_optimizers_are_found():
    optimizer = torch.optim.SGD([torch.zeros(1)])
    assert not private.optimizer_has_hooks(optimizer)
    handle = register_optimizer_step_post_hook(lambda *arguments: None)
    assert private.optimizer_has_hooks(optimizer)
    handle.remove()
    optimizer.register_step_pre_hook(lambda *arguments: None)
    assert private.optimizer_has_hooks(optimizer)


def test_an_optimizer_without_the_names_of_hooks_counts_as_one_with_hooks():
    optimizer = torch.optim.SGD([torch.zeros(1)])
    del optimizer._optimizer_step_pre_hooks
    assert private.optimizer_has_hooks(optimizer)


def test_a_schedule_warns_of_an_optimizer_that_is_not_marked_as_stepped():
    optimizer = torch.optim.SGD([torch.zeros(1)])
    assert not private.wrapped_by_schedule(optimizer.step)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    assert private.wrapped_by_schedule(optimizer.step)
    private.mark_stepped(optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule.step()


def test_a_class_looks_up_the_names_of_its_parameters_once(monkeypatch):
    looked_up = []

    class Estimator(scikit_learn.ParameterNamesOnce):
        def __init__(self, depth=1):
            self.depth = depth

    original = inspect.signature
    monkeypatch.setattr(inspect, "signature", lambda f: looked_up.append(f) or original(f))
    assert clone(clone(Estimator(2))).get_params() == {"depth": 2}
    assert len(looked_up) == 1


def test_the_callbacks_of_scikit_learn():
    callback, estimator = ScoringMonitor(scoring="accuracy"), TorchClassifier()
    estimator.set_callbacks(callback)
    assert scikit_learn.callback_context(estimator, max_subtasks=1) is not None


def test_the_container_of_a_transformers_output():
    cleaner = TableCleaner()
    assert scikit_learn.output_library(cleaner) == "default"
    assert scikit_learn.output_library(cleaner.set_output(transform="pandas")) == "pandas"


def test_the_names_of_the_callbacks_of_skorch():
    net = skorch.NeuralNet(nn.Linear, nn.MSELoss, callbacks=[("scored", EpochScoring("r2"))])
    assert "scored" in skorch.callback_names(net.initialize_callbacks())
