"""The double-RIS multi-user MISO downlink: exact closed forms, phase design and Monte Carlo."""

from ris.system import DoubleRIS

__all__ = ["DoubleRIS"]
