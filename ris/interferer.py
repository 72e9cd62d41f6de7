"""Interference at the surfaces as the signal of a transmitter of its own."""

import array_api_compat
import numpy as np

from channels.fading import Hop
from channels.interference import Interference
from ris.system import DoubleRIS

__all__ = ["interferer"]


def interferer(system: DoubleRIS, batch: tuple[int, ...] = ()) -> DoubleRIS | None:
    """Return a system whose channels interfere as the interference does, or None if there is none.

    What reaches user k of n1 and n2, with n_i ~ CN(0, p_i R_i), has in it what its channel from a BS of one
    antenna would have if the hops to the surfaces were n1^H and n2^H:

        n1^H T1 (u1k + D T2 u2k) + n2^H T2 u2k.

    So its mean power is the mean gain E|h_k|^2 of that system, with lines of sight and with any hardware.

    Parameters
    ----------
    system : DoubleRIS
        The system.
    batch : tuple of int
        Batch axes that the result shall have.
    """

    def hop(emi: Interference | None) -> Hop | None:
        if emi is None:
            return None
        xp = array_api_compat.array_namespace(emi.power)
        return Hop(xp.broadcast_to(emi.power, batch), np.eye(1), emi.correlation)

    if system.emi1 is None and system.emi2 is None:
        return None
    return DoubleRIS(
        bs_ris1=hop(system.emi1),
        bs_ris2=hop(system.emi2),
        ris1_ris2=system.ris1_ris2,
        ris1_user=system.ris1_user,
        ris2_user=system.ris2_user,
        phase_noise1=system.phase_noise1,
        phase_noise2=system.phase_noise2,
        hardware1=system.hardware1,
        hardware2=system.hardware2,
    )
