"""Powers, and what the BS knows and does."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from studies.config.table import Count, Decibels, Positive, Table, absent
from studies.errors import Fault, FaultsError
from studies.options import CsiName, Precoder

__all__ = ["Pilots", "Transmission"]


class Pilots(Table):
    """Uplink pilots for `csi = "lmmse"`: power of a user, symbols, and the pilot of each user.

    By default the noise power is that of the users, and user k sends pilot k modulo length.
    """

    power_dbm: Decibels
    length: Count
    of_users: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    noise_power_dbm: Decibels | None = None

    @model_validator(mode="after")
    def _numbers(self) -> Self:
        faults = [
            Fault(f"of_users.{i}", f"expected < {self.length} (length), got {pilot}")
            for i, pilot in enumerate(self.of_users or [])
            if pilot >= self.length
        ]
        if faults:
            raise FaultsError(faults)
        return self


class Transmission(Table):
    """Power budget and precoding; noise power directly, or from bandwidth and noise figure at 290 K."""

    power_dbm: Decibels
    noise_power_dbm: Decibels | None = None
    bandwidth_hz: Positive | None = None
    noise_figure_db: float | None = Field(default=None, ge=0, le=400)
    csi: CsiName = "perfect"
    precoder: Precoder = "mrt"
    pilots: Pilots | None = Field(default=None, exclude_if=absent)

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

    @model_validator(mode="after")
    def _pilots_for_estimates(self) -> Self:
        if self.csi == "lmmse" and self.pilots is None:
            raise FaultsError([Fault("pilots", "expected a table, as csi = 'lmmse' needs it, got nothing")])
        return self
