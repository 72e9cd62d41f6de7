"""The closed sets of string options, one Literal each."""

from typing import Literal

__all__ = ["Bound", "Csi", "Engine", "Precision"]

Csi = Literal["perfect", "nominal"]
"""What the BS knows: its channels as they are, or as ideal elements at the phase shifts would make them."""

Bound = Literal["hardening", "ratio"]
"""How a rate follows from moments: the hardening bound, or the ratio of moments (an approximation)."""

Engine = Literal["reduced", "explicit"]
"""How channels are drawn: "explicit" draws the matrices of all hops, "reduced" the same law without them."""

Precision = Literal["double", "single"]
"""Arithmetic of the reduced engine."""
