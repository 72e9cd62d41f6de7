"""The closed sets of string options, one Literal each."""

from typing import Literal

__all__ = ["Bound", "Csi", "DesignMethod", "Engine", "InstantaneousObjective", "Objective", "Precision"]

Csi = Literal["perfect", "nominal"]
"""What the BS knows: its channels with the phase noise, or as the phase shifts alone would make them."""

Bound = Literal["hardening", "ratio"]
"""How a rate follows from moments: the hardening bound, or the ratio of moments (an approximation)."""

Engine = Literal["reduced", "explicit"]
"""How channels are drawn: "explicit" draws the matrices of all hops, "reduced" the same law without them."""

Precision = Literal["double", "single"]
"""Arithmetic of the reduced engine."""

DesignMethod = Literal[
    "closed_form", "steering", "random", "gradient", "alternating", "coordinate", "branch_and_bound"
]
"""How phase shifts are designed; see `ris.design_phases`."""

Objective = Literal["sum_rate", "min_rate", "mean_gain"]
"""What a design of phase shifts maximises: a function of the users' rates, or the sum of their mean gains."""

InstantaneousObjective = Literal["received_power", "sum_rate"]
"""What phase shifts chosen for each realization maximise: the sum of |h_k|^2, or of the users' rates."""
