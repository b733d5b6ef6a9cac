"""Start processes as torchrun does, which call functions together."""

import os
import pickle
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
SECONDS = 300  # Nothing takes as long: what hangs is ended.


def run_ranks(*functions: Callable, n_ranks: int = 2) -> list[Any]:
    """Call functions one after another in several processes; return a list of values by rank.

    An error is a value, too. In place of the list of a process that dies is its exit code.
    """
    with TemporaryDirectory() as folder:
        Path(folder, "functions").write_bytes(pickle.dumps(functions))
        port = _free_port()
        processes = [_started(rank, n_ranks, folder, port) for rank in range(n_ranks)]
        try:
            codes = [process.wait(SECONDS) for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        values = [Path(folder, f"values{rank}") for rank in range(n_ranks)]
        return [
            pickle.loads(path.read_bytes()) if path.exists() else code
            for path, code in zip(values, codes, strict=True)
        ]


def _started(rank: int, n_ranks: int, folder: str, port: int) -> subprocess.Popen:
    of_torchrun = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": n_ranks,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    return subprocess.Popen(
        [sys.executable, "-m", __name__, folder],
        cwd=ROOT,
        env=os.environ | {name: str(value) for name, value in of_torchrun.items()},
    )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _value(function: Callable) -> Any:
    try:
        return function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    told = Path(sys.argv[1])
    values = [_value(function) for function in pickle.loads((told / "functions").read_bytes())]
    (told / f"values{os.environ['RANK']}").write_bytes(pickle.dumps(values))
