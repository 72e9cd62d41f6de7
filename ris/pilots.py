"""Channel estimates from simulated pilots."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.streams import Stream
from ris._kernels.pilots import estimate_channels, receive_pilots
from ris.affine_estimates import affine_estimates
from ris.csi import PilotCsi
from ris.lmmse_moments import error_covariances, pilot_filters, precoder_gains
from ris.mean_gain import channel_covariances
from ris.rician_gain import rician_second_moments
from ris.system import DoubleRIS

__all__ = ["PilotEstimator"]


class PilotEstimator:
    """Estimates the channels of a tile from noisy pilots, as `PilotCsi` says.

    Parameters
    ----------
    system : DoubleRIS
        A single system (no batch axes) of NumPy arrays.
    theta1, theta2 : ndarray, shapes (N1,) and (N2,), radians
        Phase shifts.
    csi : PilotCsi
        The pilots.
    stream : Stream
        Where the noise comes from.

    Attributes
    ----------
    precoder_gain : ndarray, shape (K,)
        E|hhat_k|^2, in closed form.
    errors : ndarray, shape (M, M)
        Covariance of the errors as the BS has it, summed over the users.
    """

    def __init__(
        self, system: DoubleRIS, theta1: NDArray[Any], theta2: NDArray[Any], csi: PilotCsi, stream: Stream
    ) -> None:
        self._constants: NDArray[np.float64] | None = None
        if system.line_of_sight:
            estimates = affine_estimates(
                csi,
                rician_second_moments(system, theta1, theta2),
                lambda: rician_second_moments(system, theta1, theta2, "nominal"),
            )
            c = estimates.constants
            self._constants = np.stack([c.real, c.imag]).transpose(2, 0, 1)[..., None]
            self._filters = np.ascontiguousarray(estimates.filters)
            self.errors, self.precoder_gain = estimates.errors.sum(axis=0), estimates.precoder_gain
        else:
            covariances = channel_covariances(system, theta1, theta2)

            def nominal() -> NDArray[np.complex128]:
                return channel_covariances(system, theta1, theta2, "nominal")

            self._filters = np.ascontiguousarray(pilot_filters(csi, covariances, nominal))
            self.errors = error_covariances(csi, covariances, nominal).sum(axis=0)
            self.precoder_gain = precoder_gains(csi, self._filters, covariances)
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
