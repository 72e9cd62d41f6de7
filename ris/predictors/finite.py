"""Families of systems whose training has but so many, which come again and again."""

from dataclasses import dataclass, field

import numpy as np

from channels.checks import integer
from channels.draws import uniform
from channels.errors import InvalidArgumentError
from channels.streams import Stream
from ris.predictors.task import Batch, Split, Task

__all__ = ["FiniteTask"]


@dataclass(frozen=True)
class FiniteTask:
    """A `ris.predictors.task.Task` that trains on some batches of another one, in a new order each time.

    Parameters
    ----------
    task : Task
        The other one.
    batches : int
        How many of its batches.
    first : int
        The first of them.
    """

    task: Task
    batches: int
    first: int = 0
    _kept: dict[int, Batch] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        integer("batches", self.batches, minimum=1)
        integer("first", self.first, minimum=0)

    @property
    def name(self) -> str:
        """That of the other task, as are channels, side and users."""
        return self.task.name

    @property
    def channels(self) -> int:
        """Channels of the maps."""
        return self.task.channels

    @property
    def side(self) -> int:
        """Rows and columns of the surfaces."""
        return self.task.side

    @property
    def users(self) -> int:
        """Users of the systems of `systems`."""
        return self.task.users

    def training_batch(self, step: int, count: int, seed: int) -> Batch:
        """Return the batch of a step; each comes once in `batches` steps. They are kept as first drawn."""
        time, place = divmod(step, self.batches)
        stream = Stream(seed, self.name, "order")
        order = np.argsort(uniform(stream, 1, self.batches, time * self.batches)[:, 0])
        number = self.first + int(order[place])
        if number not in self._kept:
            self._kept[number] = self.task.training_batch(number, count, seed)
        if self._kept[number].maps.shape[0] != 2 * count:
            raise InvalidArgumentError("count", "the same in every step", repr(count))
        return self._kept[number]

    def systems(self, split: Split, count: int, first: int = 0) -> Batch:
        """Systems of a split, as of the other task."""
        return self.task.systems(split, count, first)
