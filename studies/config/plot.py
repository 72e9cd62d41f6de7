"""The picture of a study."""

from typing import Annotated

from pydantic import Field

from studies.config.table import Table, Text
from studies.options import Metric, Scale

__all__ = ["Panel", "Plot"]


class Panel(Table):
    """One pair of axes: the metrics and the schemes that it shows."""

    title: str = ""
    metrics: Annotated[list[Metric], Field(min_length=1)] = ["hardening_sum_rate"]
    schemes: list[str] | None = None
    y_scale: Scale = "linear"


class Plot(Table):
    """The picture."""

    x_label: Text
    x_unit: str = ""
    x_scale: Scale = "linear"
    panel: Annotated[list[Panel], Field(min_length=1)] = [Panel()]
