"""Names of other packages that the site links to, as inventories that need no internet.

``objects.inv`` of a package's own site would have to be downloaded for each build. Here the names
come from the installed packages, and each kind of name has a pattern of its address.
"""

import re
import zlib
from importlib import import_module

import skorch.callbacks
import torch
from sklearn.utils.discovery import all_displays, all_estimators, all_functions

# Public names of scikit-learn that its own lists leave out.
UNLISTED = {
    *("sklearn.base.BaseEstimator", "sklearn.base.ClassifierMixin", "sklearn.base.RegressorMixin"),
    *("sklearn.base.TransformerMixin", "sklearn.base.clone", "sklearn.callback.ProgressBar"),
    *("sklearn.exceptions.ConvergenceWarning", "sklearn.exceptions.NotFittedError"),
    *("sklearn.model_selection.GroupKFold", "sklearn.model_selection.KFold"),
    *("sklearn.model_selection.PredefinedSplit", "sklearn.model_selection.StratifiedKFold"),
    *("sklearn.model_selection.TimeSeriesSplit", "sklearn.set_config", "sklearn.utils.Bunch"),
}


def sklearn_names():
    """Return the public names of scikit-learn, each of which has a page."""
    private = re.compile(r"\._.*|(?<=\.metrics)\.cluster")
    found = {
        (private.sub("", thing.__module__), name)
        for name, thing in [*all_estimators(), *all_functions(), *all_displays()]
    }
    names = {f"{module}.{name}" for module, name in found if hasattr(import_module(module), name)}
    return names | UNLISTED


def public(module, package=None):
    """Return the names that a module lists as its own, as those of a package that exports them."""
    return {f"{package or module.__name__}.{name}" for name in module.__all__}


# Addresses of names; `{}` stands for the name.
PAGES = {
    "sklearn": (
        "https://scikit-learn.org/stable/",
        {"modules/generated/{}.html#{}": sklearn_names()},
    ),
    "torch": (
        "https://docs.pytorch.org/docs/stable/",
        {
            "generated/{}.html#{}": public(torch.nn.modules, "torch.nn")
            | {f"torch.optim.{name}" for name in vars(torch.optim) if name[0].isupper()}
            | public(torch.optim.lr_scheduler)
            | {f"torch.{name}" for name in ["compile", "inference_mode", "load", "manual_seed"]}
            | {f"torch.{name}" for name in ["from_numpy", "no_grad", "randperm", "save", "tensor"]}
            | {"torch.autograd.grad", "torch.func.vmap", "torch.nn.functional.nll_loss"}
            | {"torch.nn.functional.cross_entropy"},
            "tensors.html#{}": {"torch.Tensor"},
            "tensor_attributes.html#{}": {"torch.device", "torch.dtype"},
            "nn.init.html#{}": {
                f"torch.nn.init.{name}" for name in vars(torch.nn.init) if name.endswith("_")
            },
            "data.html#{}": {f"torch.utils.data.{name}" for name in torch.utils.data.__all__},
        },
    ),
    "skorch": (
        "https://skorch.readthedocs.io/en/stable/",
        {
            "callbacks.html#{}": public(skorch.callbacks),
            "helper.html#{}": {"skorch.helper.SliceDataset", "skorch.helper.SliceDict"},
            "history.html#{}": {"skorch.history.History"},
            "net.html#{}": {"skorch.net.NeuralNet"},
            "classifier.html#{}": {"skorch.classifier.NeuralNetClassifier"},
            "regressor.html#{}": {"skorch.regressor.NeuralNetRegressor"},
        },
    ),
    "joblib": (
        "https://joblib.readthedocs.io/en/stable/",
        {
            "generated/{}.html#{}": {
                *("joblib.Parallel", "joblib.cpu_count", "joblib.dump", "joblib.load"),
                "joblib.parallel_config",
            }
        },
    ),
    "numpy": (
        "https://numpy.org/doc/stable/reference/",
        {
            "generated/{}.html#{}": {
                *("numpy.load", "numpy.logspace", "numpy.memmap", "numpy.ndarray", "numpy.save"),
            }
        },
    ),
    "pandas": (
        "https://pandas.pydata.org/docs/reference/api/",
        {"{}.html#{}": {"pandas.DataFrame", "pandas.Series", "pandas.read_csv"}},
    ),
    "python": (
        "https://docs.python.org/3/library/",
        {
            "exceptions.html#{}": {
                *("AttributeError", "IndexError", "KeyboardInterrupt", "RuntimeError"),
                *("TypeError", "ValueError"),
            },
        },
    ),
}

# How else prose calls them.
ALIASES = {
    "torch.nn.": "nn.",
    "numpy.": "np.",
    "torch.utils.data.": "",
    "skorch.callbacks.": "",
    "skorch.helper.": "",
    "skorch.net.": "skorch.",
    "skorch.classifier.": "skorch.",
    "skorch.regressor.": "skorch.",
}
TOO_SHORT = re.compile(r"[a-z]+$")  # a short name such as `clone` may be any word


def aliases(name):
    """Return the names that mean `name` in prose, itself among them."""
    found = {name}
    for prefix, short in ALIASES.items():
        if name.startswith(prefix):
            found.add(short + name.removeprefix(prefix))
    last = name.rpartition(".")[2]
    if (name.startswith("sklearn.") and not TOO_SHORT.match(last)) or last.endswith("Loss"):
        found.add(last)
    return found


def write(folder):
    """Write an inventory for each package, and return the ``intersphinx_mapping`` of them."""
    folder.mkdir(exist_ok=True)
    mapping = {}
    for package, (site, patterns) in PAGES.items():
        lines = [
            f"{alias} py:{'class' if name.rpartition('.')[2][0].isupper() else 'function'} 1 "
            f"{pattern.replace('{}', name)} -"
            for pattern, names in patterns.items()
            for name in sorted(names)
            for alias in sorted(aliases(name))
        ]
        head = f"# Sphinx inventory version 2\n# Project: {package}\n# Version: \n# zlib\n"
        path = folder / f"{package}.inv"
        path.write_bytes(head.encode() + zlib.compress("\n".join(lines).encode()))
        mapping[package] = (site, str(path))
    return mapping
