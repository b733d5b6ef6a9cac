"""Write a file whole or not at all."""

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path


def write_whole(path: str | os.PathLike, data: bytes) -> None:
    """Write a file anew; a program that ends at any time leaves the old one or the new one.

    Of a link, the file that it leads to is written. Raise OSError where that is not possible; then
    nothing has changed.
    """
    given, path = os.fspath(path), Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(
            errno.ENOENT, "The folder of the file does not exist; make it first", given
        )
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno is not None:
            raise type(error)(error.errno, error.strerror, given) from error
        raise
    if hasattr(os, "O_DIRECTORY"):  # Folders can be synchronised where POSIX holds.
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
