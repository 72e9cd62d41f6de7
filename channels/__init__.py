"""Propagation: arrays, spatial correlation, fading hops, phase noise and counter-based random streams."""

from channels.correlation import Correlation
from channels.errors import InvalidArgumentError, MemoryLimitError
from channels.fading import Hop, UserHop

__all__ = ["Correlation", "Hop", "InvalidArgumentError", "MemoryLimitError", "UserHop"]
