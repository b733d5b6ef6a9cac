"""Objects in a file of which every process of a machine maps the arrays, rather than copy them."""

import mmap
import pickle
from pathlib import Path
from typing import Any

from sktorch.workers.pickling import dumps

ALIGNMENT = 64  # bytes, as numpy and torch align arrays of their own


def write(path: Path, values: Any) -> None:
    """Write objects: first the contents of their arrays, then the rest."""
    positions: list[tuple[int, int]] = []
    with path.open("wb") as file:

        def append(buffer: pickle.PickleBuffer) -> None:
            file.seek(-file.tell() % ALIGNMENT, 1)
            with buffer.raw() as content:
                positions.append((file.tell(), content.nbytes))
                file.write(content)

        rest = dumps(values, protocol=5, buffer_callback=append)
        start = file.tell()
        pickle.dump((rest, positions), file)
        file.write(start.to_bytes(8, "little"))


def read(path: Path) -> Any:
    """Return the objects; their arrays can't be written to, and stay when the file is deleted."""
    with path.open("rb") as file:
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    start = int.from_bytes(content[-8:], "little")
    # What it reads, the process that started this one has written.
    rest, positions = pickle.loads(content[start:])
    buffers = [content[first : first + length] for first, length in positions]
    return pickle.loads(rest, buffers=buffers)
