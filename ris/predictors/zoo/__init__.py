"""The trained predictors that come with the package: model files that say what made them."""

import os
from functools import cache
from pathlib import Path

from channels.errors import InvalidArgumentError
from ris.predictors.runtime import Predictor

__all__ = ["load_predictor", "names", "path_of", "task_of"]

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of the models."""
    return sorted(path.stem for path in FOLDER.glob("*.h5"))


def path_of(name: str) -> Path:
    """Return the file of a model of that name.

    Raises
    ------
    InvalidArgumentError
        If there is none.
    """
    if name not in names():
        raise InvalidArgumentError("model", f"one of {names()}, or a path to a .h5 file", repr(name))
    return FOLDER / f"{name}.h5"


def load_predictor(model: str | os.PathLike[str]) -> Predictor:
    """Return the predictor of a name, or of a file whose path ends in ".h5".

    Raises
    ------
    InvalidArgumentError
        If there is no model of that name, or no such file.
    ModelFileError
        If a file is not sound.
    """
    if isinstance(model, str) and not model.endswith(".h5"):
        return _shipped(path_of(model))
    return _read(Path(model))


def task_of(name: str) -> str:
    """Return the task that a model of that name is for."""
    return str(load_predictor(name).model.metadata["task"])


@cache
def _shipped(path: Path) -> Predictor:
    return _read(path)


def _read(path: Path) -> Predictor:
    if not path.is_file():
        raise InvalidArgumentError("model", f"a file, or one of {names()}", repr(str(path)))
    # `import ris` shall not wait for HDF5.
    from ris.predictors.model_file import read_model

    return Predictor(read_model(path))
