"""Surfaces of which the map is known at every s-th element alone."""

from dataclasses import dataclass

from ris.backend import Array
from ris.predictors.task import Batch, Split, Task

__all__ = ["CoarseBatch", "CoarseTask"]


@dataclass(frozen=True, eq=False)
class CoarseBatch:
    """A batch with coarse maps; its rates are those of the full surfaces."""

    full: Batch
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
    full : Task
        The task at full resolution.
    scale : int
        s.
    """

    full: Task
    scale: int

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

    def _sensed(self, batch: Batch) -> CoarseBatch:
        return CoarseBatch(batch, batch.maps[..., :: self.scale, :: self.scale], self.scale)
