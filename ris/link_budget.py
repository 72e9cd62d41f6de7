"""The link budget of a drop: data, and plain text."""

from dataclasses import dataclass

__all__ = ["BudgetRow", "LinkBudget"]


@dataclass(frozen=True)
class BudgetRow:
    """The large-scale gain of one hop, from one element at one end to one at the other.

    Attributes
    ----------
    hop : str
        Name of the hop.
    user : int or None
        Number of the user, None for a hop between arrays.
    distance_m : float
        Distance.
    line_of_sight : bool
        State of the path.
    path_loss_db : float
        Loss between isotropic antennas.
    left_gain_db, right_gain_db : float
        Gains of the elements at the end nearer to the BS and at the other end; -inf behind a surface.
    shadowing_db : float
        Gain by shadowing.
    """

    hop: str
    user: int | None
    distance_m: float
    line_of_sight: bool
    path_loss_db: float
    left_gain_db: float
    right_gain_db: float
    shadowing_db: float

    @property
    def total_db(self) -> float:
        """Gain of the hop: both element gains and the shadowing, less the path loss."""
        return self.left_gain_db + self.right_gain_db + self.shadowing_db - self.path_loss_db


@dataclass(frozen=True)
class LinkBudget:
    """The link budget of one drop; printing it gives a table.

    Attributes
    ----------
    rows : tuple of BudgetRow
        One for every hop between arrays, and for every user of the others.
    noise_power_dbm : float
        Noise power at a user.
    """

    rows: tuple[BudgetRow, ...]
    noise_power_dbm: float

    def __str__(self) -> str:
        head = f"{'hop':<10}{'user':>5}{'m':>10}{'state':>6}"
        head += "".join(f"{name:>10}" for name in ("loss dB", "left dB", "right dB", "shadow dB", "total dB"))
        return "\n".join([head, *map(_line, self.rows), f"noise power {self.noise_power_dbm:.2f} dBm"])


def _line(row: BudgetRow) -> str:
    user = "" if row.user is None else str(row.user)
    state = "LoS" if row.line_of_sight else "NLoS"
    values = (row.path_loss_db, row.left_gain_db, row.right_gain_db, row.shadowing_db, row.total_db)
    text = "".join(f"{value:>z10.2f}" for value in values)
    return f"{row.hop:<10}{user:>5}{row.distance_m:>10.2f}{state:>6}{text}"
