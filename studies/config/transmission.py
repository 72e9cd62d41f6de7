"""Powers, and what the BS knows and does."""

from typing import Self

from pydantic import model_validator

from ris.options import Csi
from studies.config.table import Decibels, Positive, Table
from studies.errors import Fault, FaultsError
from studies.options import Precoder

__all__ = ["Transmission"]


class Transmission(Table):
    """Power budget and precoding; noise power directly, or from bandwidth and noise figure at 290 K."""

    power_dbm: Decibels
    noise_power_dbm: Decibels | None = None
    bandwidth_hz: Positive | None = None
    noise_figure_db: Decibels | None = None
    csi: Csi = "perfect"
    precoder: Precoder = "mrt"

    @model_validator(mode="after")
    def _one_noise_power(self) -> Self:
        parts = self.bandwidth_hz is not None, self.noise_figure_db is not None
        if (self.noise_power_dbm is None) == all(parts) and (self.noise_power_dbm is None or not any(parts)):
            return self
        got = [
            key
            for key in ("noise_power_dbm", "bandwidth_hz", "noise_figure_db")
            if getattr(self, key) is not None
        ]
        raise FaultsError(
            [
                Fault(
                    "",
                    "expected either noise_power_dbm, or bandwidth_hz and noise_figure_db, got "
                    + (" and ".join(got) or "none of them"),
                )
            ]
        )
