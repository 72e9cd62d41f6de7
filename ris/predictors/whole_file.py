"""Files that are there in full or not at all."""

import os
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, *parts: bytes) -> None:
    """Write bytes, part after part, in a file beside `path` that takes its place once it is on disk."""
    written = path.with_name(path.name + ".writing")
    with written.open("wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    written.replace(path)
