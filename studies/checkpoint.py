"""Checkpoints: every finished block of a run, in one SQLite file that survives kill -9 and power loss.

A run is cut into tasks, and a task into blocks that depend on nothing but their task and number: whoever
computes a block, and however often, gets the same numbers. So a checkpoint is a set of finished blocks, and
to go on with a run is to compute those that are missing. One process writes; it commits blocks whole, so a
crash at any moment costs the blocks in flight and no other. Every row carries a digest, and the header says
which run the blocks belong to: damaged rows and rows of other runs are found, never merged.

Layout: table `header` (key, value) with the format, the configuration of the run and the text of the study,
each JSON; table `blocks` (task, block, names, data, seconds, sha256) with the arrays of a block one after the
other as little-endian float64, `names` their names and shapes.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from studies.errors import CheckpointError, OutputError

__all__ = ["Block", "Checkpoint", "canonical", "differences", "fingerprint"]

FORMAT = "double-ris checkpoint 1"


@dataclass(frozen=True, eq=False)
class Block:
    """What one block of a task found.

    Attributes
    ----------
    arrays : dict of str to ndarray
        Numbers by name.
    seconds : float
        Time that the computation took.
    """

    arrays: Mapping[str, NDArray[np.float64]]
    seconds: float


def canonical(configuration: Any) -> str:
    """Return the one JSON text of a configuration: sorted keys, no spaces."""
    return json.dumps(configuration, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(configuration: Any) -> str:
    """Return the SHA-256 of a configuration, hexadecimal."""
    return hashlib.sha256(canonical(configuration).encode()).hexdigest()


def differences(old: Any, new: Any, key: str = "") -> Iterator[str]:
    """Yield the keys in which two configurations differ, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            yield from differences(old.get(name), new.get(name), f"{key}.{name}" if key else name)
    elif canonical(old) != canonical(new):
        yield f"{key}: {canonical(old)} there, {canonical(new)} now"


class Checkpoint:
    """The finished blocks of one run.

    Parameters
    ----------
    path : Path or None
        The file; None keeps the blocks in a file without a name that ends with the process.
    configuration : dict, optional
        All that the numbers depend on. A file that is there must hold blocks of the same; None takes
        over that of the file.
    about : dict, optional
        More to keep beside the blocks, as the text of the study; no part of the fingerprint.
    must_exist : bool
        Whether to refuse a file that is not there.

    Attributes
    ----------
    configuration, about : dict
        Those of the file.

    Raises
    ------
    CheckpointError
        If the file is damaged or no checkpoint, belongs to another run, or is in use by another process.
    OutputError
        If the file cannot be written.
    """

    def __init__(
        self,
        path: Path | None,
        configuration: Mapping[str, Any] | None = None,
        about: Mapping[str, Any] | None = None,
        *,
        must_exist: bool = False,
    ) -> None:
        self._name = "temporary checkpoint" if path is None else str(path)
        if path is not None and must_exist and not path.is_file():
            raise CheckpointError(f"{path}: no such checkpoint")
        with self._reading():
            self._file = sqlite3.connect("" if path is None else path, timeout=0, isolation_level=None)
        try:
            self._open(configuration, about or {})
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; blocks that were put are in it."""
        self._file.close()

    def __len__(self) -> int:
        with self._reading():
            return int(self._file.execute("SELECT count(*) FROM blocks").fetchone()[0])

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the run."""
        return self._fingerprint

    def get(self, task: int, block: int) -> Block | None:
        """Return a block, or None if it is not there.

        Raises
        ------
        CheckpointError
            If it is there and damaged.
        """
        with self._reading():
            row = self._file.execute(
                "SELECT names, data, seconds, sha256 FROM blocks WHERE task = ? AND block = ?", (task, block)
            ).fetchone()
        if row is None:
            return None
        names, data, seconds, digest = row
        if not isinstance(data, bytes) or digest != self._digest(task, block, names, seconds, data):
            raise CheckpointError(
                f"{self._name}: block {block} of task {task} is damaged; remove the file to start over"
            )
        arrays: dict[str, NDArray[np.float64]] = {}
        start = 0
        for name, shape in json.loads(names):
            stop = start + 8 * int(np.prod(shape, dtype=np.int64))
            arrays[name] = np.frombuffer(data[start:stop], dtype="<f8").astype(np.float64).reshape(shape)
            start = stop
        return Block(arrays, seconds)

    def put(self, found: Iterable[tuple[int, int, Block]]) -> None:
        """Commit blocks, each given with its task and number, all of them or none.

        Raises
        ------
        OutputError
            If they cannot be written; the blocks that were there before stay.
        """
        rows = [self._row(*one) for one in found]
        with self._writing():
            self._file.execute("BEGIN")
            self._file.executemany("INSERT OR REPLACE INTO blocks VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._file.execute("COMMIT")

    def _row(self, task: int, block: int, found: Block) -> tuple[Any, ...]:
        names = json.dumps([[name, list(array.shape)] for name, array in found.arrays.items()])
        data = b"".join(np.asarray(array, dtype="<f8").tobytes() for array in found.arrays.values())
        seconds = float(found.seconds)
        return task, block, names, data, seconds, self._digest(task, block, names, seconds, data)

    def _digest(self, *parts: Any) -> str:
        *small, data = parts
        return hashlib.sha256(repr((self._fingerprint, *small)).encode() + data).hexdigest()

    def _open(self, configuration: Mapping[str, Any] | None, about: Mapping[str, Any]) -> None:
        with self._writing():
            # One writer: the lock is taken at once and held, so that the log works without shared memory.
            for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
                self._file.execute(f"PRAGMA {pragma}")
            self._file.execute("BEGIN EXCLUSIVE")
            if configuration is not None and not self._file.execute("SELECT 1 FROM sqlite_master").fetchone():
                self._create(configuration, about)
            self._file.execute("COMMIT")
        header = self._header()
        self.configuration = json.loads(header["configuration"])
        self.about = json.loads(header["about"])
        self._fingerprint = fingerprint(self.configuration)
        if configuration is not None and self._fingerprint != fingerprint(configuration):
            found = "\n  ".join(differences(self.configuration, json.loads(canonical(configuration))))
            raise CheckpointError(f"{self._name}: holds blocks of another run; what differs:\n  {found}")

    def _create(self, configuration: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        self._file.execute("CREATE TABLE header (key TEXT PRIMARY KEY, value TEXT)")
        self._file.execute(
            "CREATE TABLE blocks (task INTEGER, block INTEGER, names TEXT, data BLOB, seconds REAL, "
            "sha256 TEXT, PRIMARY KEY (task, block))"
        )
        header = {"configuration": canonical(configuration), "about": canonical(about), "format": FORMAT}
        header["sha256"] = _header_digest(header)
        self._file.executemany("INSERT INTO header VALUES (?, ?)", header.items())

    def _header(self) -> dict[str, str]:
        with self._reading():
            check = self._file.execute("PRAGMA quick_check(1)").fetchone()
            if check != ("ok",):
                raise CheckpointError(f"{self._name}: damaged ({check}); remove the file to start over")
            header = {
                str(key): str(value) for key, value in self._file.execute("SELECT key, value FROM header")
            }
        if header.get("format") != FORMAT:
            raise CheckpointError(f"{self._name}: no checkpoint of this program ({FORMAT})")
        if header.pop("sha256", None) != _header_digest(header):
            raise CheckpointError(f"{self._name}: its header is damaged; remove the file to start over")
        return header

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise CheckpointError(f"{self._name}: not a readable checkpoint ({error})") from None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if self._file.in_transaction:
                self._file.rollback()
            if "locked" in str(error):
                raise CheckpointError(f"{self._name}: in use by another run") from None
            raise OutputError(
                f"cannot write {self._name}: {error}; finished blocks are safe, run again to go on"
            ) from None
        except sqlite3.Error as error:
            raise CheckpointError(f"{self._name}: not a readable checkpoint ({error})") from None


def _header_digest(header: Mapping[str, str]) -> str:
    return hashlib.sha256(repr(sorted(header.items())).encode()).hexdigest()
