"""The map of the package: who may import whom, and how long a file may be.

The sources are read, not imported. CONTRIBUTING.md draws the same map for people.
"""

import ast
import re
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sktorch"

# A room is a folder, and "estimators" are the files beside them. Leaves are neither: they import
# nothing of the package, and every room may import them. `sktorch/__init__.py` may import all.
ARROWS = {
    "estimators": {
        *("fused", "training", "targets", "data", "losses", "modules", "persistence"),
        *("preprocessing", "tabular", "inspection"),
    },
    "export": {"estimators", "data", "targets", "persistence"},
    "inspection": {"training"},
    "integration": {"estimators", "fused"},
    "model_selection": {"estimators", "fused", "data", "persistence", "inspection"},
    "workers": {"fused"},
    "fused": {"training", "recording", "data"},
    "tabular": {
        *("training", "targets", "data", "modules", "preprocessing", "persistence", "inspection"),
    },
    "training": {"recording", "data", "losses"},
    "data": {"targets"},
    "targets": {"losses"},
    "recording": set(),
    "losses": set(),
    "modules": set(),
    "preprocessing": set(),
    "persistence": set(),
}
LEAVES = {"_device", "_errors", "_lookup", "_private", "_seed", "_warnings"}
ESTIMATORS = {
    "_building",
    "_doubts",
    "_callbacks",
    "_callers",
    "_checkpoint",
    "_classifier",
    "_components",
    "_digest",
    "_divergence",
    "_estimator",
    "_features",
    "_history",
    "_job",
    "_job_state",
    "_net",
    "_object_state",
    "_outline",
    "_parameters",
    "_part",
    "_predictor",
    "_pruning",
    "_regressor",
    "_rungs",
    "_saved_types",
    "_saving",
    "_skops",
    "_scoring",
    "_shared_inputs",
    "_state",
    "_trial_call",
    "_undo",
    "_validation",
}

# What a room imports beside Python and the package.
PACKAGES = {
    "estimators": {"numpy", "skops", "sklearn", "skorch", "torch"},
    "export": {"numpy", "torch"},  # onnx and sklearn-onnx by name, where they are used
    "workers": {"cloudpickle", "joblib"},  # distributed and ray by name, where they are used
    "fused": {"joblib", "rich", "torch"},
    "inspection": {"matplotlib", "numpy", "sklearn", "torch"},
    "integration": {"joblib", "optuna", "sklearn"},
    "model_selection": {"joblib", "numpy", "sklearn", "torch"},
    "tabular": {"numpy", "sklearn", "torch"},
    "training": {"numpy", "torch"},
    "targets": {"numpy", "scipy", "sklearn", "torch"},
    "recording": {"torch"},
    "losses": {"torch"},
    "data": {"numpy", "scipy", "sklearn", "skorch", "torch"},
    "modules": {"torch"},
    "preprocessing": {"numpy", "pandas", "polars", "sklearn"},
    "persistence": {"numpy", "safetensors", "torch"},
}
ONLY = {  # the only file of a room that imports a package
    ("fused", "joblib"): "fused.backend",
    ("fused", "rich"): "fused.displays",
    ("inspection", "matplotlib"): "inspection._pyplot",
    ("workers", "cloudpickle"): "workers.pickling",
    ("integration", "optuna"): "integration.optuna",
    ("data", "skorch"): "data.mappings",  # its dict that indexes by rows, for its callbacks
    ("estimators", "skops"): "_skops",
    ("persistence", "safetensors"): "persistence.archive",
    ("training", "numpy"): "training.randomness",  # numpy's global generator is set aside there
}

MAX_FILE_LINES = 400
LONG_FILES = {
    "_classifier": "its parameters and attributes are described to users",
    "_regressor": "its parameters and attributes are described to users",
}
MAX_FUNCTION_LINES = 60  # without the docstring
LONG_FUNCTIONS = {
    "_classifier.__init__": "two lines for each parameter",
    "_regressor.__init__": "two lines for each parameter",
}

# Modules without a test file of their own name, and where they are tested instead.
TESTED_IN = {
    "_building": "tests/test_every_component.py",
    "_callers": "tests/test_checkpoint.py",
    "_components": "tests/test_every_component.py",
    "_device": "tests/test_acceleration.py",
    "_estimator": "tests/test_sklearn_contract.py",
    "_job": "tests/test_validation.py",
    "_job_state": "tests/test_checkpoint.py",
    "_net": "tests/callbacks",
    "_outline": "tests/training/test_processes.py",
    "_part": "tests/test_validation.py",
    "_private.search_tasks": "tests/fused/test_pruner.py",
    "_pruning": "tests/fused/test_pruner.py",
    "_rungs": "tests/model_selection/test_halving.py",
    "fused.belongings": "tests/workers/test_backend.py",
    "inspection._histories": "tests/inspection/test_learning_curves.py",
    "inspection._pyplot": "tests/inspection/test_learning_curves.py",
    "model_selection._fold_models": "tests/model_selection/test_halving.py",
    "model_selection._fold_ensemble": "tests/model_selection/test_ensemble.py",
    "model_selection._member_predictions": "tests/model_selection/test_ensemble.py",
    "model_selection._saved_types": "tests/model_selection/test_ensemble.py",
    "model_selection._selection": "tests/model_selection/test_ensemble.py",
    "model_selection._tasks": "tests/model_selection/test_ensemble.py",
    "model_selection._learning_rate_curves": "tests/model_selection/test_learning_rates.py",
    "model_selection._learning_curves": "tests/model_selection/test_halving.py",
    "_seed": "tests/test_checkpoint.py",
    "_private.notebooks": "tests/inspection/test_html.py",
    "_private.scikit_learn": "tests/test_private.py",
    "_private.skorch": "tests/test_private.py",
    "_private.torch": "tests/test_private.py",
    "data.source": "tests/data/test_sources.py",
    "export.needs": "tests/export/test_files.py",
    "export.programs": "tests/export/test_files.py",
    "modules._layers": "tests/modules",
    "targets.around": "tests/targets/test_members.py",
    "_saved_types": "tests/persistence/test_estimators.py",
    "_saving": "tests/persistence/test_estimators.py",
    "_skops": "tests/persistence/test_skops.py",
    "_private.skops": "tests/persistence/test_skops.py",
    "persistence.names": "tests/persistence/test_bad_files.py",
    "persistence.objects": "tests/persistence/test_estimators.py",
    "persistence.modules": "tests/persistence/test_estimators.py",
    "persistence.nodes": "tests/persistence/test_archive.py",
    "persistence.tensors": "tests/persistence/test_archive.py",
    "persistence.tree": "tests/persistence/test_archive.py",
    "preprocessing._containers": "tests/preprocessing/test_columns.py",
    "preprocessing._parameters": "tests/preprocessing/test_cleaner.py",
    "training.joint_batch_norm": "tests/training/test_processes.py",
    "training.joint_engine": "tests/training/test_processes.py",
    "training.objective": "tests/training/test_step.py",
    "training.runner": "tests/fused/test_runner.py",
    "training.shared_batches": "tests/training/test_processes.py",
    "training.settings": "tests/training/test_interrupts.py",
}


@cache
def modules() -> tuple[str, ...]:
    """Return the names of all modules, as `training.loop`."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return tuple(".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in paths)


@cache
def read(module: str) -> str:
    return PACKAGE.joinpath(*module.split(".")).with_suffix(".py").read_text()


@cache
def parse(module: str) -> ast.Module:
    return ast.parse(read(module))


def room(module: str) -> str:
    """Return the room of a module: its folder, or a name for the files that are in none."""
    top, *rest = module.split(".")
    if top in LEAVES:
        return "leaves"
    return top if rest or top == "__init__" else "estimators"


@cache
def imported_names(module: str) -> set[str]:
    """Return the full names of all that a module imports, inside of functions too."""
    names = set()
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: write imports in full, from sktorch on"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@cache
def imported_modules(module: str) -> set[str]:
    """Return the modules of the package that a module imports."""
    inside = {name for name in imported_names(module) if name.split(".")[0] == "sktorch"}
    return {defining_module(name.removeprefix("sktorch").removeprefix(".")) for name in inside}


def defining_module(name: str) -> str:
    """Return the module that a name is, or that it is taken from."""
    while name:
        for module in (name, f"{name}.__init__"):
            if module in modules():
                return module
        name = name.rpartition(".")[0]
    return "__init__"


def imported_packages(module: str) -> set[str]:
    """Return the packages of others, save Python's own, that a module and its leaves import."""
    leaves = {leaf for leaf in imported_modules(module) if room(leaf) == "leaves"} - {module}
    packages = {name.split(".")[0] for name in imported_names(module)}.union(
        *map(imported_packages, leaves)
    )
    return packages - sys.stdlib_module_names - {"sktorch"}


def assert_no_circle(imports: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@cache
def imported_rooms() -> dict[str, set[str]]:
    """Return the other rooms that each room imports, the leaves aside."""
    found = {name: set() for name in ARROWS}
    for module in modules():
        if room(module) in ARROWS:
            found[room(module)] |= {room(other) for other in imported_modules(module)}
    return {name: others - {name, "leaves"} for name, others in found.items()}


@pytest.mark.parametrize("name", ARROWS)
def test_rooms_import_along_the_arrows(name):
    assert imported_rooms()[name] <= ARROWS[name]


@pytest.mark.parametrize("name", ARROWS)
def test_every_arrow_is_used(name):
    assert ARROWS[name] <= imported_rooms()[name]


def test_every_folder_is_on_the_map():
    folders = {module.split(".")[0] for module in modules() if "." in module}
    assert folders <= ARROWS.keys() | LEAVES


def test_leaves_import_nothing_of_the_package():
    for module in modules():
        if room(module) == "leaves":
            assert {room(other) for other in imported_modules(module)} <= {"leaves"}, module


def test_rooms_are_in_no_circle():
    assert_no_circle(ARROWS)


def test_modules_are_in_no_circle():
    assert_no_circle({module: imported_modules(module) for module in modules()})


def test_rooms_import_no_other_packages():
    for module in modules():
        if room(module) in PACKAGES:
            assert imported_packages(module) <= PACKAGES[room(module)], module


@pytest.mark.parametrize(("name", "package"), ONLY)
def test_one_file_of_a_room_imports_a_package(name, package):
    found = [module for module in modules() if package in imported_packages(module)]
    assert [module for module in found if room(module) == name] == [ONLY[name, package]]


def test_one_class_extends_the_net_of_skorch():
    def extends_net(node):
        return isinstance(node, ast.ClassDef) and any(
            ast.unparse(base).split(".")[-1].startswith("NeuralNet") for base in node.bases
        )

    found = [module for module in modules() if any(map(extends_net, ast.walk(parse(module))))]
    assert found == ["_net"]


def test_the_picture_in_contributing_is_this_map():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    drawn = {}
    for names, others in re.findall(r"^(\w.*?) +─▶ (.*)$", text, re.MULTILINE):
        arrows = set() if others == "nothing" else set(others.split(", "))
        drawn |= dict.fromkeys(names.split(", "), arrows)
    assert drawn == ARROWS


def test_files_in_no_room_are_known():
    assert {module for module in modules() if room(module) == "estimators"} <= ESTIMATORS


@pytest.mark.parametrize(
    "document",
    [
        "CONTRIBUTING.md",
        "README.md",
        "docs/final_model.rst",
        "docs/parallel.rst",
        "docs/performance.md",
        "docs/user_guide.rst",
        "docs/workers.rst",
    ],
)
def test_documents_name_files_that_are_there(document):
    for name in re.findall(r"`([\w/]+\.(?:py|md|rst))`", (ROOT / document).read_text()):
        folders = (ROOT, PACKAGE, ROOT / "docs")
        assert any((folder / name).exists() for folder in folders), name


def test_files_are_short():
    long = {module for module in modules() if read(module).count("\n") > MAX_FILE_LINES}
    assert long <= LONG_FILES.keys()


def function_lengths(module: str) -> dict[str, int]:
    """Return the number of lines of every function of a module, without its docstring."""
    lengths = {}
    for node in ast.walk(parse(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False) or ""
            lines = node.end_lineno - node.lineno + 1
            lengths[f"{module}.{node.name}"] = lines - len(docstring.splitlines())
    return lengths


def test_functions_are_short():
    lengths = {name: n for module in modules() for name, n in function_lengths(module).items()}
    long = {name for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES}
    assert long <= LONG_FUNCTIONS.keys()


def has_tests(module: str) -> bool:
    """Say whether a module has a test file of its name, or a folder of them."""
    *folders, file = module.split(".")
    tests, name = ROOT.joinpath("tests", *folders), file.lstrip("_")
    return any(tests.glob(f"test_{name}*.py")) or (tests / name).is_dir()


@pytest.mark.parametrize("module", [name for name in modules() if not name.endswith("__init__")])
def test_tests_mirror_the_sources(module):
    assert has_tests(module) or (ROOT / TESTED_IN[module]).exists()
