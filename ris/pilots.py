"""Channel estimates from simulated pilots."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.streams import Stream
from ris._kernels.pilots import estimate_channels, receive_pilots
from ris.csi import LmmseCsi
from ris.lmmse_moments import affine_estimates, lmmse_filters
from ris.mean_gain import channel_covariances
from ris.rician_gain import rician_second_moments
from ris.system import DoubleRIS

__all__ = ["PilotEstimator"]


class PilotEstimator:
    """Estimates the channels of a tile from noisy pilots, as `LmmseCsi` says.

    Parameters
    ----------
    system : DoubleRIS
        A single system (no batch axes) of NumPy arrays.
    theta1, theta2 : ndarray, shapes (N1,) and (N2,), radians
        Phase shifts.
    csi : LmmseCsi
        The pilots.
    stream : Stream
        Where the noise comes from.

    Attributes
    ----------
    mean_gain : float
        sum_k E|hhat_k|^2, in closed form.
    """

    def __init__(
        self, system: DoubleRIS, theta1: NDArray[Any], theta2: NDArray[Any], csi: LmmseCsi, stream: Stream
    ) -> None:
        self._constants = None
        if system.line_of_sight:
            moments = rician_second_moments(system, theta1, theta2)
            filters, constants, gains = affine_estimates(*moments, csi)
            self._constants = np.stack([constants.real, constants.imag]).transpose(2, 0, 1)[..., None]
            self.mean_gain = float(np.sum(gains))
        else:
            covariances = channel_covariances(system, theta1, theta2)
            filters = lmmse_filters(covariances, csi)
            self.mean_gain = float(np.einsum("kij,kji->", filters, covariances).real)
        self._filters = np.ascontiguousarray(filters)
        shared = csi.shared(system.users)
        self._pilots = np.array(
            [row.index(True) for row in shared]
        )  # the first user of each pilot stands for it
        self._amplitude, self._key = float(np.sqrt(csi.noise)), stream.key

    def estimates(self, channels: NDArray[np.float64], first: int) -> NDArray[np.float64]:
        """Return the estimates of a tile of channels, axes (antenna, part, user, realization).

        Parameters
        ----------
        channels : ndarray, shape (M, 2, K, B)
            The channels.
        first : int
            Number of the first realization.
        """
        received, estimates = np.empty(channels.shape), np.empty(channels.shape)
        receive_pilots(received, channels, self._pilots, self._amplitude, self._key, first)
        estimate_channels(estimates, received, self._pilots, self._filters)
        return estimates if self._constants is None else estimates + self._constants
