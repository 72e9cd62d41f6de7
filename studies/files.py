"""Files that appear whole or not at all, and whose damage shows.

A sealed file ends in one line with the SHA-256 of all that stands before it. HDF5 readers ignore what follows
the end of their data, so a sealed HDF5 file opens everywhere; our own readers look at the seal before any
other byte.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from studies.errors import OutputError, ResultFileError

__all__ = ["check_seal", "prepare_outputs", "replace_file", "seal"]

MARK = b"\ndouble-ris sha256 "
SEAL_BYTES = len(MARK) + 64 + 1


def seal(path: Path) -> None:
    """Append the digest of a file to it."""
    with path.open("rb+") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.write(MARK + digest.encode() + b"\n")


def check_seal(path: Path) -> None:
    """Make sure that a file is as it was sealed.

    Raises
    ------
    ResultFileError
        If it is not.
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END) - SEAL_BYTES
        file.seek(max(size, 0))
        end = file.read()
        if size < 0 or not end.startswith(MARK) or not end.endswith(b"\n"):
            raise ResultFileError(f"{path}: not a result file of `ris run`, or cut short")
        file.seek(0)
        digest = hashlib.sha256()
        while size > 0:
            part = file.read(min(size, 2**20))
            digest.update(part)
            size -= len(part)
    if end[len(MARK) : -1] != digest.hexdigest().encode():
        raise ResultFileError(f"{path}: damaged (its content does not match its digest)")


def prepare_outputs(paths: Iterable[Path], *, force: bool = False) -> None:
    """Make sure, before hours of work, that outputs can be written.

    Raises
    ------
    OutputError
        If an output exists and may not be overwritten, or a directory cannot be made or written to.
    """
    paths = list(paths)
    existing = [str(path) for path in paths if path.exists()]
    if existing and not force:
        raise OutputError(f"{', '.join(existing)} already there: give --force to overwrite, or another --out")
    for directory in {path.parent for path in paths}:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                pass
        except OSError as error:
            raise OutputError(f"cannot write into {directory}: {error.strerror or error}") from None


def replace_file(path: Path, write: Callable[[Path], None]) -> None:
    """Have `write` make a temporary file beside `path`, and give it that name when it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    """Make a new name survive a power loss, where directories can be synced at all."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(directory, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
