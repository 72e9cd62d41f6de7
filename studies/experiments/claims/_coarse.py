"""Trainings of networks on maps of every s-th element."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ris.predictors.coarse import CoarseBatch, CoarseTask, TakingTurns
from ris.predictors.networks.mixed_dense import ScaleRecurrent, Sizes
from ris.predictors.scattered import ScatteredBatch, ScatteredTask
from ris.predictors.task import Task
from ris.predictors.train import Recipe

__all__ = ["SIZES", "CoarseRecipe", "CombinedRecipe", "InterpolatedRecipe", "bicubic"]

SIZES = {
    "mixed-dense": Sizes(state=16, reused=8, growth=4, units=3, blocks=1),
    "residual": Sizes(state=16, reused=16, growth=0, units=3, blocks=1),
    "dense": Sizes(state=16, reused=0, growth=6, units=3, blocks=1),
}
"""Blocks by name, of equal numbers of parameters to 1 %."""


@dataclass(frozen=True)
class CoarseRecipe(Recipe):
    """Training of a scale-recurrent network.

    Parameters
    ----------
    task, network
        "scattered" and a key of `SIZES`.
    side : int
        Rows and columns of a coarse map.
    sides : tuple of int
        Rows and columns of the surfaces, step by step.
    coarse : bool
        Whether the maps are coarse, or have the rows and columns of the surface.
    factors : tuple of int
        As for `ScaleRecurrent`.
    frames : int
        Successive pilots in the maps.
    doppler : pair of float, optional
        Range of f_d T of moving users.
    pilot_db : pair of float
        Range of the SNR of the pilots.
    """

    task: str = "scattered"
    network: str = "mixed-dense"
    batch: int = 16
    sides: tuple[int, ...] = (16,)
    coarse: bool = True
    factors: tuple[int, ...] = (2, 3)
    frames: int = 1
    doppler: tuple[float, float] | None = None
    pilot_db: tuple[float, float] = (10.0, 30.0)

    def make_task(self) -> Task:
        """Return the family of systems; its tests are of the last size."""
        return TakingTurns([self.at(side) for side in self.sides])

    def at(self, side: int) -> CoarseTask:
        """Return the task at one size."""
        full = ScatteredTask(side, frames=self.frames, doppler=self.doppler, pilot_db=self.pilot_db)
        return CoarseTask(full, side // self.side if self.coarse else 1)

    def make_network(self) -> ScaleRecurrent:
        """Return the network with its first weights."""
        return ScaleRecurrent(self.make_task().channels, self.seed, SIZES[self.network], self.factors)


@dataclass(frozen=True)
class CombinedRecipe(CoarseRecipe):
    """Training on all pilots of moving users, combined to one map."""

    combined: bool = True

    def at(self, side: int) -> CoarseTask:
        """Return the task at one size."""
        task = super().at(side)
        return replace(task, full=replace(task.full, combined=self.combined))


@dataclass(frozen=True)
class InterpolatedTask(CoarseTask):
    """A task whose pilots are sensed at every s-th element, and interpolated to all of them."""

    def _sensed(self, batch: ScatteredBatch) -> CoarseBatch:
        pilots = 2 * self.full.frames
        weights = bicubic(self.side, self.scale)
        fine = weights @ batch.maps[:, :, :pilots, :: self.scale, :: self.scale] @ weights.T
        maps = np.concatenate([fine, batch.maps[:, :, pilots:]], axis=2, dtype=np.float32)
        return CoarseBatch(batch, maps, 1)


@dataclass(frozen=True)
class InterpolatedRecipe(CoarseRecipe):
    """What a network for maps of all elements is given when they are interpolated."""

    def at(self, side: int) -> CoarseTask:
        """Return the task at one size."""
        return InterpolatedTask(super().at(side).full, side // self.side)


def bicubic(side: int, scale: int) -> NDArray[np.float64]:
    """Return the weights of every scale-th of `side` values, shape (side, side / scale).

    The cubic convolution of Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP
    29, 1981; beyond the ends go his third-order values c_-1 = 3 c_0 - 3 c_1 + c_2.
    """
    known = side // scale
    extended = np.zeros((known + 3, known))
    extended[1 : known + 1] = np.eye(known)
    extended[0] = extended[1:4].T @ (3, -3, 1)
    for i in (known + 1, known + 2):
        extended[i] = extended[i - 3 : i].T @ (1, -3, 3)
    distance = np.abs(np.arange(side)[:, None] / scale + 1 - np.arange(known + 3))
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    kernel = np.where(distance < 1, near, np.where(distance < 2, far, 0))
    weights: NDArray[np.float64] = kernel @ extended
    return weights
