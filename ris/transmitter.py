"""What the BS of a simulation sends: the channels it knows, its precoders and their normalisation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from channels.errors import InvalidArgumentError
from channels.streams import Stream
from ris.csi import AnyCsi, PilotCsi
from ris.linear_precoding import column_powers, columns, products, transmitted
from ris.long_term import LongTerm
from ris.mean_gain import mean_precoder_gain, nominal_turns
from ris.pilots import PilotEstimator
from ris.precoders import MMSE, MRT, RZF, WMMSE, ZF, Precoder
from ris.precoding import check_precoders
from ris.sampler import ChannelSampler, Tile
from ris.system import DoubleRIS
from ris.wmmse import wmmse_of_tile

__all__ = ["Transmitter"]

PRELIMINARY = 1024
"""Realizations from which long-term normalisation takes means that have no closed form."""

FIRST_PRELIMINARY = 2**62
"""Number of the first of them, beyond those of any simulation."""


class Transmitter:
    """Precodes the tiles of a simulation.

    Long-term normalisation needs the means E|v_k|^2 of the columns: of `MRT` in closed form; of others, and
    what allocation needs beside them, from `PRELIMINARY` realizations that belong to the random stream and to
    nothing else. So precoders do not depend on how a simulation is cut. Such a mean has an error, of some
    percent, and with it the ergodic rate; `correct` takes the error out to first order.

    Parameters
    ----------
    system : DoubleRIS
        The system.
    sampler : ChannelSampler
        Draws its channels, for nominal CSI the nominal ones too.
    precoder : Precoder
        The precoder.
    csi : {"perfect", "nominal"} or PilotCsi
        What the BS knows.
    stream : Stream
        Of the simulation; pilot noise comes from a child.
    power, noise_power : float
        Total transmit power and noise power at a user.
    threads : int
        Threads for the preliminary realizations.

    Attributes
    ----------
    noise : float
        Noise power of a user for the precoders f_k as `precoders` returns them: noise_power, but with `MRT`
        as in the closed forms, where f_k = h_k, it is noise_power sum_k E|f_k|^2 / power.
    """

    def __init__(
        self,
        system: DoubleRIS,
        sampler: ChannelSampler,
        precoder: Precoder,
        csi: AnyCsi,
        stream: Stream,
        power: float,
        noise_power: float,
        threads: int,
    ) -> None:
        self._users, self._precoder, self._powers = system.users, precoder, (power, noise_power)
        self._pilots: PilotEstimator | None = None
        self._errors: NDArray[np.complex128] | None = None
        self._long_term: LongTerm | None = None
        self.noise = noise_power
        theta1, theta2 = sampler.theta1, sampler.theta2
        long_term = not isinstance(precoder, WMMSE) and precoder.normalisation == "long_term"
        disturbed = system.emi1 is not None or system.emi2 is not None
        if disturbed and long_term and not isinstance(precoder, MRT):  # `correct` knows nothing of it
            raise InvalidArgumentError(
                "precoder",
                "MRT, or normalisation = 'realization', beside interference at the surfaces",
                repr(precoder),
            )
        self._turns: NDArray[np.complex128] | None = None
        alike = system.hardware1.alike and system.hardware2.alike
        if csi == "nominal" and (system.line_of_sight or not alike):
            self._turns = nominal_turns(system, theta1, theta2)
        if isinstance(csi, PilotCsi):
            self._pilots = PilotEstimator(system, theta1, theta2, csi, stream.child("pilots"))
            self._errors = self._pilots.errors
        if isinstance(precoder, WMMSE) or precoder.normalisation == "realization":
            return
        gains: NDArray[np.float64] | None = None
        if isinstance(precoder, MRT) and self._pilots is not None:
            gains = self._pilots.precoder_gain
        elif isinstance(precoder, MRT) and not isinstance(csi, PilotCsi):
            gains = mean_precoder_gain(system, theta1, theta2, csi)
        if gains is not None and precoder.allocation == "common":
            self.noise = noise_power * float(np.sum(gains)) / power if power > 0 else np.inf
        else:
            self._long_term = self._preliminary(precoder, sampler, gains, threads)

    def precoders(self, tile: Tile, first: int) -> tuple[Tile, int]:
        """Return the precoders of a tile, and in how many realizations an iteration did not converge.

        Parameters
        ----------
        tile : ndarray, shape (M, 2, C, B)
            As the sampler draws it.
        first : int
            Number of the first realization.
        """
        precoder, known = self._precoder, self._known(tile, first)
        if isinstance(precoder, WMMSE):
            made, _, _, converged = wmmse_of_tile(precoder, known, *self._powers)
            return check_precoders(precoder, made), int(np.sum(~converged))
        if precoder.normalisation == "realization":
            return check_precoders(precoder, transmitted(precoder, known, *self._powers, self._errors)), 0
        if self._long_term is None:
            return known, 0
        made = columns(precoder, known, *self._powers, self._errors) * self._long_term.scales[:, None]
        return check_precoders(precoder, made), 0

    def correct(self, rates: NDArray[np.float64], precoder_powers: NDArray[np.float64]) -> None:
        """Add what makes the mean of instantaneous rates the ergodic rate at the exact mean of the power.

        With preliminary scales t = E sum_k |f_k|^2 is not quite the power. Scaled to it, the ergodic rate
        differs by its slope times (t - power) and terms of the second order. So each realization adds the
        slope times (sum_k |f_k|^2 - power), and the estimate is still a plain mean.

        Parameters
        ----------
        rates : ndarray, shape (K, B)
            Instantaneous rates; changed in place.
        precoder_powers : ndarray, shape (K, B)
            |f_k|^2.
        """
        if self._long_term is not None and not isinstance(self._precoder, MRT):
            excess = precoder_powers.sum(axis=0) - self._powers[0]
            rates += self._long_term.slope[:, None] * excess

    def _known(self, tile: Tile, first: int) -> Tile:
        if self._pilots is not None:
            return self._pilots.estimates(tile, first)
        known = tile[:, :, -self._users :]
        if self._turns is None:
            return known
        re, im = known[:, 0], known[:, 1]
        cosines, sines = self._turns.real[:, None], self._turns.imag[:, None]
        return np.stack([re * cosines - im * sines, re * sines + im * cosines], axis=1)

    def _preliminary(
        self,
        precoder: MRT | ZF | RZF | MMSE,
        sampler: ChannelSampler,
        gains: NDArray[np.float64] | None,
        threads: int,
    ) -> LongTerm:
        def moments(done: int, tile: Tile, _: Any) -> tuple[Any, Any]:
            known = self._known(tile, FIRST_PRELIMINARY + done)
            made = check_precoders(precoder, columns(precoder, known, *self._powers, self._errors))
            return products(tile[:, :, : self._users], made), column_powers(made)

        found = zip(*sampler.each(moments, FIRST_PRELIMINARY, PRELIMINARY, threads), strict=True)
        inner, sizes = (np.concatenate(parts, axis=-1) for parts in found)
        return LongTerm.of(precoder, inner, sizes if gains is None else gains[:, None], *self._powers)
