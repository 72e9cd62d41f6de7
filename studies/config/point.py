"""One point of a sweep: a system and its transmission."""

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, model_validator

from ris.options import Engine, Objective
from ris.predictors import zoo
from studies.config.system import System
from studies.config.table import Table, absent
from studies.config.transmission import Transmission
from studies.errors import Fault, FaultsError
from studies.options import PhaseDesignName

__all__ = ["Phases", "Point", "PowerModel", "Simulation"]


class Phases(Table):
    """The design of the phase shifts, with 2^bits levels if `bits` is given.

    `user` is that of "steered", `model` that of "predicted", one for statistics that comes with the package,
    as a result file shall say by itself what it was made by. `objective` is what the methods of
    `ris.design_phases` maximise, by default the sum of the hardening bounds; "optimal" maximises the mean
    gain.
    """

    design: PhaseDesignName
    user: int = Field(default=0, ge=0)
    model: str | None = Field(default=None, exclude_if=absent)
    bits: Annotated[int, Field(ge=1, le=32)] | None = None
    objective: Objective | None = Field(default=None, exclude_if=absent)

    @model_validator(mode="after")
    def _levels(self) -> Self:
        if self.design in ("coordinate", "branch_and_bound") and self.bits is None:
            problem = f"expected a resolution, as design = {self.design!r} needs it, got nothing"
            raise FaultsError([Fault("bits", problem)])
        return self

    @model_validator(mode="after")
    def _known_model(self) -> Self:
        if self.model is not None:
            known = [name for name in zoo.names() if zoo.task_of(name) == "statistical"]
            if self.model not in known:
                raise FaultsError([Fault("model", f"expected one of {known}, got {self.model!r}")])
        return self


class PowerModel(Table):
    """Power consumption: that of the amplifiers, power over efficiency, and what never rests, in watts."""

    amplifier_efficiency: float = Field(gt=0, le=1)
    bs_w: float = Field(ge=0)
    element_w: float = Field(ge=0)
    user_w: float = Field(default=0, ge=0)


class Simulation(Table):
    """How channels are drawn."""

    engine: Engine = "reduced"


class Point(Table):
    """Everything that defines one system and its transmission: one point of a sweep."""

    system: System
    transmission: Transmission
    phases: Phases
    power_model: PowerModel | None = None
    simulation: Simulation = Simulation()

    @model_validator(mode="after")
    def _users_exist(self) -> Self:
        count, pilots = self.system.users.count, self.transmission.pilots
        faults = []
        if self.phases.user >= count:
            problem = f"expected < {count} (system.users.count), got {self.phases.user}"
            faults.append(Fault("phases.user", problem))
        if pilots is not None and pilots.of_users is not None and len(pilots.of_users) != count:
            problem = f"expected {count} (system.users.count), got {len(pilots.of_users)}"
            faults.append(Fault("transmission.pilots.of_users", problem))
        if self.transmission.precoder == "zf" and count > self.system.bs.antennas:
            problem = (
                f"expected at most {self.system.bs.antennas} (system.bs.antennas) with 'zf', got {count}"
            )
            faults.append(Fault("system.users.count", problem))
        faults += self._hardware_faults()
        if faults:
            raise FaultsError(faults)
        return self

    def _hardware_faults(self) -> Iterator[Fault]:
        """Yield faults of hardware for which the means that a transmission needs have no closed form."""
        transmission = self.transmission
        surfaces = self.system.surfaces
        disturbed = [name for name, surface in surfaces.items() if surface.interference is not None]
        for name, surface in surfaces.items():
            if surface.coupling is None or not surface.random:
                continue
            if transmission.long_term or transmission.csi != "perfect" or disturbed:
                yield Fault(
                    f"system.{name}.coupling",
                    "expected no phase noise or random failures beside it, but for perfect CSI, "
                    "normalisation = 'realization' and no interference",
                )
        if disturbed and transmission.long_term and transmission.precoder != "mrt":
            yield Fault(
                "transmission.normalisation",
                f"expected 'realization' beside interference at a surface, with {transmission.precoder!r}",
            )
