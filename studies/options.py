"""The closed sets of string options of a study file, one Literal each."""

from typing import Literal

__all__ = [
    "CsiName",
    "ExecutorName",
    "LinkName",
    "Metric",
    "PhaseDesignName",
    "PrecoderName",
    "Scale",
    "StopReason",
]

CsiName = Literal["perfect", "nominal", "lmmse", "ls"]
"""What the BS knows: its channels, what they would be without phase noise, or estimates from pilots, linear
MMSE or least squares."""

ExecutorName = Literal["serial", "processes", "dask"]
"""Where blocks of realizations are computed."""

LinkName = Literal["direct", "single", "single1", "single2", "double"]
"""Paths from the BS to the users; "single" stands for the single reflections at both surfaces."""

PhaseDesignName = Literal[
    "optimal",
    "uniform",
    "random",
    "steered",
    "predicted",
    "gradient",
    "alternating",
    "coordinate",
    "branch_and_bound",
]
"""How the phase shifts of the surfaces are chosen: "predicted" by a trained network (`ris.predict_phases`),
the last four by methods of `ris.design_phases`."""

PrecoderName = Literal["mrt", "zf", "rzf", "mmse", "wmmse"]
"""How the BS precodes: the precoders of `ris.precoders` by their names there, in small letters."""

Scale = Literal["linear", "log"]
"""Scale of an axis of a plot."""

Metric = Literal[
    "hardening_sum_rate",
    "ratio_sum_rate",
    "ergodic_sum_rate",
    "minimum_rate",
    "hardening_rate",
    "ergodic_rate",
    "mean_gain",
    "outage",
    "energy_efficiency",
]
"""What a panel of a plot can show; rates without "sum", outage and mean gain are those of the first user."""

StopReason = Literal["half_width", "max_realizations", "wall_time"]
"""Why a point got no more realizations."""
