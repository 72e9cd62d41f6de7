"""Surfaces of which the pilots tell every s-th element alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from ris.backend import Array
from ris.predictors.scattered import ScatteredBatch, ScatteredTask
from ris.predictors.task import Split

__all__ = ["CoarseBatch", "CoarseTask", "TakingTurns"]


@dataclass(frozen=True, eq=False)
class CoarseBatch:
    """A batch with coarse maps; its rates are those of the full surfaces."""

    full: ScatteredBatch
    maps: Array
    scale: int

    def rates(self, x: Array) -> Array:
        """Rates at phasors of the full surfaces."""
        return self.full.rates(x)

    def known_rates(self, x: Array) -> Array:
        """Rates as far as the BS knows the channels."""
        return self.full.known_rates(x)


@dataclass(frozen=True)
class CoarseTask:
    """A task whose maps are sensed at every s-th element.

    Beyond half a wavelength between those, directions could no longer be told from their maps.

    Parameters
    ----------
    full : ScatteredTask
        The task at full resolution.
    scale : int
        s; 1 for the full resolution.
    """

    full: ScatteredTask
    scale: int

    @property
    def users(self) -> int:
        """Users of the systems of a split."""
        return self.full.users

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.full.name

    @property
    def channels(self) -> int:
        """Channels of the maps."""
        return self.full.channels

    @property
    def side(self) -> int:
        """Rows and columns of the surfaces at full resolution."""
        return self.full.side

    def training_batch(self, step: int, count: int, seed: int) -> CoarseBatch:
        """Systems of one step of the training."""
        return self._sensed(self.full.training_batch(step, count, seed))

    def systems(self, split: Split, count: int, first: int = 0) -> CoarseBatch:
        """Systems of a split."""
        return self._sensed(self.full.systems(split, count, first))

    def _sensed(self, batch: ScatteredBatch) -> CoarseBatch:
        return CoarseBatch(batch, batch.maps[..., :: self.scale, :: self.scale], self.scale)


@dataclass(frozen=True)
class TakingTurns:
    """Tasks of which a training takes one after the other; what it is validated on is the last.

    Parameters
    ----------
    tasks : sequence of CoarseTask
        With the same channels.
    """

    tasks: Sequence[CoarseTask]

    @property
    def users(self) -> int:
        """Users of the systems of a split."""
        return self.tasks[-1].users

    @property
    def name(self) -> str:
        """Name of the last task."""
        return self.tasks[-1].name

    @property
    def channels(self) -> int:
        """Channels of the maps."""
        return self.tasks[-1].channels

    @property
    def side(self) -> int:
        """Rows and columns of the last task's surfaces."""
        return self.tasks[-1].side

    def training_batch(self, step: int, count: int, seed: int) -> CoarseBatch:
        """Systems of one step of the training."""
        return self.tasks[step % len(self.tasks)].training_batch(step, count, seed)

    def systems(self, split: Split, count: int, first: int = 0) -> CoarseBatch:
        """Systems of a split of the last task."""
        return self.tasks[-1].systems(split, count, first)
