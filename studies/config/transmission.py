"""Powers, and what the BS knows and does."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from ris.options import Allocation, Normalisation, PilotCovariance
from studies.config.table import Count, Decibels, Positive, Table, absent
from studies.errors import Fault, FaultsError
from studies.options import CsiName, PrecoderName

__all__ = ["Pilots", "Transmission"]


class Pilots(Table):
    """Uplink pilots for `csi = "lmmse"` or `"ls"`: power of a user, symbols, and the pilot of each user.

    By default the noise power is that of the users, and user k sends pilot k modulo length. `covariance` is
    what a linear MMSE estimate takes the users' channels to have, by default the exact one.
    """

    power_dbm: Decibels
    length: Count
    of_users: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    noise_power_dbm: Decibels | None = None
    covariance: PilotCovariance | None = Field(default=None, exclude_if=absent)

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
    """Power budget and precoding; noise power directly, or from bandwidth and noise figure at 290 K.

    Normalisation and allocation of the power are by default those of the precoder in `ris.precoders`: for
    "mrt" long-term and common, as in the closed forms, for others by realization and equal.
    """

    power_dbm: Decibels
    noise_power_dbm: Decibels | None = None
    bandwidth_hz: Positive | None = None
    noise_figure_db: float | None = Field(default=None, ge=0, le=400)
    csi: CsiName = "perfect"
    precoder: PrecoderName = "mrt"
    normalisation: Normalisation | None = Field(default=None, exclude_if=absent)
    allocation: Allocation | None = Field(default=None, exclude_if=absent)
    pilots: Pilots | None = Field(default=None, exclude_if=absent)

    @property
    def long_term(self) -> bool:
        """Whether the power is that of the mean over realizations."""
        default = "long_term" if self.precoder == "mrt" else "realization"
        return (self.normalisation or default) == "long_term"

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
        if self.csi in ("lmmse", "ls") and self.pilots is None:
            needed = f"expected a table, as csi = {self.csi!r} needs it, got nothing"
            raise FaultsError([Fault("pilots", needed)])
        return self

    @model_validator(mode="after")
    def _one_power_rule(self) -> Self:
        if self.precoder == "wmmse":
            problem = "expected nothing, as precoder = 'wmmse' divides the power itself"
            given = [key for key in ("normalisation", "allocation") if getattr(self, key) is not None]
            if given:
                raise FaultsError([Fault(key, problem) for key in given])
        return self
