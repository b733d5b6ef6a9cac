"""The versions and devices of an installation, as a bug report needs them."""

from importlib.metadata import PackageNotFoundError, version

import sklearn
import torch

# What scikit-learn does not list: sktorch, what it requires, and the packages of its extras.
PACKAGES = (
    "sktorch",
    "torch",
    "skorch",
    "cloudpickle",
    "ipywidgets",
    "rich",
    "optuna",
    "distributed",
    "ray",
    "safetensors",
    "skops",
    "onnx",
    "onnxscript",
    "skl2onnx",
)


def show_versions() -> None:
    """Print the versions and devices of this installation, to paste into a bug report.

    Prints what :func:`sklearn.show_versions` does (system, scikit-learn, numpy and their thread
    pools), then sktorch, torch, skorch and the packages of the extras (None if they are missing),
    and the devices that torch finds.

    Examples
    --------
    >>> import sktorch
    >>> sktorch.show_versions()
    <BLANKLINE>
    System:
        python: ...
    """
    sklearn.show_versions()
    _print_section("sktorch dependencies", {name: _version(name) for name in PACKAGES})
    _print_section("torch devices", _devices())


def _print_section(title: str, entries: dict[str, object]) -> None:
    width = max(map(len, entries))
    print(f"\n{title}:")
    for name, value in entries.items():
        print(f"{name:>{width}}: {value}")


def _version(package: str) -> str | None:
    """Return the version of a package without importing it; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _devices() -> dict[str, object]:
    devices: dict[str, object] = {
        "cpu": f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}",
        "CUDA build": torch.version.cuda,
        "mps": torch.backends.mps.is_available(),
    }
    for number in range(torch.cuda.device_count()):
        devices[f"cuda:{number}"] = torch.cuda.get_device_name(number)
    return devices
