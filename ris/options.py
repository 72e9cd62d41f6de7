"""The closed sets of string options, one Literal each."""

from typing import Literal

__all__ = [
    "Allocation",
    "Bound",
    "Csi",
    "DesignMethod",
    "Engine",
    "InstantaneousObjective",
    "Normalisation",
    "Objective",
    "PilotCovariance",
    "Precision",
]

Csi = Literal["perfect", "nominal"]
"""What the BS knows: its channels as they are, or as ideal elements at the phase shifts would make them."""

PilotCovariance = Literal["exact", "nominal", "gain"]
"""The users' covariances that an LMMSE estimate uses: with the phase noise, without it, or gains alone."""

Normalisation = Literal["realization", "long_term"]
"""Over what the transmit power is the given one: in every realization, or in the mean over them."""

Allocation = Literal["common", "equal", "max_min", "water_filling"]
"""How the transmit power is divided among the users, as `ris.precoding` says."""

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
