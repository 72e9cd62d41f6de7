"""What a study estimates, and when that is enough."""

import itertools
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from studies.config.table import Positive, Table, Text, twice
from studies.errors import Fault, FaultsError
from studies.metrics import known_metrics

__all__ = ["Metrics", "Stop"]


def _known_metric(name: str) -> str:
    if name not in known_metrics():
        raise PydanticCustomError("metric", "expected a metric that register_metric knows")
    return name


class Metrics(Table):
    """What to estimate beside the quantities of every study; rates in bit/s/Hz."""

    outage_rate: Positive | None = None
    sinr_quantiles: list[Annotated[float, Field(gt=0, lt=1)]] = []
    registered: list[Annotated[str, AfterValidator(_known_metric)]] = []

    @model_validator(mode="after")
    def _once(self) -> Self:
        faults = twice("registered", self.registered)
        if any(a >= b for a, b in itertools.pairwise(self.sinr_quantiles)):
            faults.append(Fault("sinr_quantiles", f"expected increasing numbers, got {self.sinr_quantiles}"))
        if faults:
            raise FaultsError(faults)
        return self


class Stop(Table):
    """When a point has enough realizations before their largest number; see `studies.stopping`."""

    metric: Text
    half_width: Positive | None = None
    relative_half_width: Positive | None = None
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    min_realizations: int = Field(default=0, ge=0)
    wall_time_s: Positive | None = None

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if (self.half_width is None) == (self.relative_half_width is None):
            raise FaultsError([Fault("", "expected either half_width or relative_half_width")])
        return self
