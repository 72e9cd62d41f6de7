"""The closed sets of string options, one Literal each."""

from typing import Literal

__all__ = ["Allocation", "Bound", "Csi", "Engine", "Normalisation", "PilotCovariance", "Precision"]

Csi = Literal["perfect", "nominal"]
"""What the BS knows: its channels with the phase noise, or as the phase shifts alone would make them."""

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
