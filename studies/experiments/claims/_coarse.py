"""Trainings of networks on maps of every s-th element."""

from dataclasses import dataclass

from ris.predictors.coarse import CoarseTask, TakingTurns
from ris.predictors.networks.mixed_dense import ScaleRecurrent, Sizes
from ris.predictors.scattered import ScatteredTask
from ris.predictors.task import Task
from ris.predictors.train import Recipe

__all__ = ["MAP", "SIZES", "CoarseRecipe"]

MAP = 8
"""Rows and columns of a coarse map."""

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
    task, network, side
        "scattered", a key of `SIZES`, and not used.
    sides : tuple of int
        Rows and columns of the surfaces, step by step.
    coarse : bool
        Whether the maps have `MAP` rows and columns, or those of the surface.
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
        return CoarseTask(full, side // MAP if self.coarse else 1)

    def make_network(self) -> ScaleRecurrent:
        """Return the network with its first weights."""
        return ScaleRecurrent(self.make_task().channels, self.seed, SIZES[self.network], self.factors)
