"""Start processes as torchrun does, which call functions together."""

import os
import pickle
import socket
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import multiprocessing

SECONDS = 240  # Nothing takes as long: what hangs is ended.


def run_ranks(*functions: Callable, n_ranks: int = 2) -> list[list[Any]]:
    """Call functions one after another in several processes; return their values by rank.

    An error is a value, too; the value of a process that dies is its exit code.
    """
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe(duplex=False) for _ in range(n_ranks)]
    port = _free_port()
    processes = [
        context.Process(target=_work, args=(rank, n_ranks, port, pipe[1], functions))
        for rank, pipe in enumerate(pipes)
    ]
    try:
        for process, (_, sender) in zip(processes, pipes, strict=True):
            process.start()
            sender.close()
        return [_received(*pair) for pair in zip(processes, pipes, strict=True)]
    finally:
        for process in processes:
            process.kill()
            process.join()


def _received(process: Any, pipe: tuple) -> Any:
    receiver, _ = pipe
    if not receiver.poll(SECONDS):
        return ["hangs"]
    try:
        return pickle.loads(receiver.recv_bytes())
    except EOFError:
        process.join(SECONDS)
        return [process.exitcode]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _work(rank: int, n_ranks: int, port: int, sender: Any, functions: tuple) -> None:
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(n_ranks), **address)
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    warnings.simplefilter("ignore")
    sender.send_bytes(pickle.dumps([_value(function) for function in functions]))


def _value(function: Callable) -> Any:
    try:
        return function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
