"""What a predictor is trained for: families of systems with fixed seeds, and their rates."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from ris.backend import Array

__all__ = ["Batch", "Split", "Task", "converted", "unit"]

Split = Literal["validation", "test", "unseen"]
"""Systems that no training sees; "unseen" ones lie outside the ranges of the training."""


class Batch(Protocol):
    """Systems, their maps as a predictor takes them, and their rates.

    Attributes
    ----------
    maps : array, shape (2 B, K, channels, rows, columns)
        Of B systems at surface 1, then at surface 2.
    """

    @property
    def maps(self) -> Array:
        """Maps as above."""
        ...

    def rates(self, x: Array) -> Array:
        """Rates of the users, bit/s/Hz, shape (B, K), at phasors x, shape (2 B, rows, columns)."""
        ...

    def known_rates(self, x: Array) -> Array:
        """Rates as far as the BS knows the channels: what it can ascend on."""
        ...


class Task(Protocol):
    """A family of systems. Systems are drawn by number: the same ones whatever the size of a batch."""

    @property
    def name(self) -> str:
        """Name by which it is asked for."""
        ...

    @property
    def channels(self) -> int:
        """Channels of the maps."""
        ...

    @property
    def side(self) -> int:
        """Rows and columns of the surfaces."""
        ...

    @property
    def users(self) -> int:
        """Users of the systems of `systems`."""
        ...

    def training_batch(self, step: int, count: int, seed: int) -> Batch:
        """Systems of one step of the training, NumPy arrays."""
        ...

    def systems(self, split: Split, count: int, first: int = 0) -> Batch:
        """Systems first, first + 1, ... of a split, NumPy arrays."""
        ...


AnyBatch = TypeVar("AnyBatch")


def converted(value: AnyBatch, convert: Callable[[NDArray[Any]], Array]) -> AnyBatch:
    """Return a batch with every NumPy array in its fields converted, as to a device."""
    if isinstance(value, np.ndarray):
        return convert(value)  # type: ignore[no-any-return]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: converted(getattr(value, f.name), convert) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value


def unit(z: Array) -> Array:
    """Z / |z|, and 1 where z = 0."""
    xp = array_api_compat.array_namespace(z)
    modulus = xp.abs(z)
    return xp.where(modulus > 0, z, xp.ones_like(z)) / xp.where(modulus > 0, modulus, xp.ones_like(modulus))
