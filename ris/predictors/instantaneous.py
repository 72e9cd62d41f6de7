"""The instantaneous task: phases from noisy pilots of the users' hops, for the sum rate of one channel.

Rician hops around lines of sight in random directions, all three reflected paths. The BS knows the hops
between arrays and, of the users' hops, what pilots tell; when the phases are set it knows the channels and
precodes by maximum ratio or regularised zero forcing.
"""

import math
from dataclasses import dataclass

import array_api_compat
import numpy as np
from numpy.typing import NDArray

from channels.draws import normal, uniform
from channels.streams import Stream
from ris.backend import Array, adjoint
from ris.predictors.geometry import TRAINED, UNSEEN, Geometry, between, decibels, directions
from ris.predictors.pilots import estimate_rows
from ris.predictors.task import Split
from ris.predictors.waves import plane_waves

__all__ = ["CHANNELS", "InstantaneousBatch", "InstantaneousTask"]

CHANNELS = (
    "single real",
    "single imaginary",
    "double real",
    "double imaginary",
    "row",
    "column",
    "log10 SNR single",
    "log10 SNR double",
    "log10 SNR single, other surface",
    "log10 SNR of the pilots",
    "surface 2",
)
"""Meaning of the channels of the maps."""

ANTENNAS = 8

USERS = (4, 2, 3)
"""Numbers of users of the training, step by step."""

RICIAN_DB = (0.0, 10.0)
SNR_DB, SINGLE_DB, DOUBLE_DB = (-5.0, 10.0), (-6.0, 6.0), (-6.0, 6.0)
"""As in the statistical task."""

BURST = 100.0
"""Power of a burst over that of a mean channel between element and user."""

ITERATIONS = 6
"""For singular vectors."""

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class InstantaneousBatch:
    """Channels of B systems; a `ris.predictors.task.Batch`.

    Attributes
    ----------
    maps : array, shape (2 B, K, channels, side, side)
        Of surface 1, then of surface 2.
    G1, G2 : array, shapes (B, N, M)
        From the BS to the surfaces.
    D : array, shape (B, N, N)
        From surface 1 to surface 2.
    h1, h2, known1, known2 : array, shape (B, K, N)
        Rows from the surfaces to the users, as they are and as noisy pilots tell them.
    estimate1, estimate2 : array, shape (B, K, N)
        What `ris.predictors.pilots.estimate_rows` makes of the pilots.
    zero_forcing : bool
        Whether the BS precodes by regularised zero forcing, or by maximum ratio.
    """

    maps: Array
    G1: Array
    G2: Array
    D: Array
    h1: Array
    h2: Array
    known1: Array
    known2: Array
    estimate1: Array
    estimate2: Array
    zero_forcing: bool

    def rates(self, x: Array) -> Array:
        """Rates of the users, shape (B, K), at phasors x, shape (2 B, side, side)."""
        return self._rates(x, self.h1, self.h2)

    def known_rates(self, x: Array) -> Array:
        """Rates if the estimates of the channels were exact."""
        return self._rates(x, self.estimate1, self.estimate2)

    def known_slopes(self, x: Array) -> Array:
        r"""Slopes of the logarithm of the known sum rate by the phases, shape (2 B, side, side).

        Notes
        -----
        With A = H H^H and gains g_kj = |E_kj|^2 / (K n_j) of stream j at user k the rates depend on A alone:

            zero forcing:    Q = (A + K I)^-1,  E = A Q = I - K Q,  n = diag(Q A Q) = diag(Q - K Q^2),
            maximum ratio:   E = A,             n = diag(A).

        Let w_kj be the slope of the objective by g_kj and v_j = -sum_k w_kj g_kj / n_j that by n_j. With
        Hermitian changes, dQ = -Q dA Q, and for a matrix C the change Re tr(C dQ) or Re tr(C dA), where

            zero forcing:    C = -2 (w * conj(E) / n)^T + diag(v) (I - 2 K Q),      S = -Q C Q,
            maximum ratio:   C = 2 (w * conj(E) / (K n))^T + diag(v),               S = C.

        So it is Re tr(S dA) = Re tr(Gamma^H dH) with Gamma = (S + S^H) H, and a phase changes H by one row of
        the hops behind it, times what leads to it, times j x.
        """
        xp = array_api_compat.array_namespace(x)
        x1, x2, onward, H = self._channel(x, self.estimate1, self.estimate2)
        users = H.shape[-2]
        E, n, Q = self._response(H)
        gains = xp.abs(E) ** 2 / (users * n)
        eye = xp.eye(users, dtype=gains.dtype, device=array_api_compat.device(gains))
        received = 1 + xp.sum(gains, axis=-1, keepdims=True)
        noise = received - xp.sum(gains * eye, axis=-1, keepdims=True)
        rates = xp.log(received / noise)
        w = (1 / received - (1 - eye) / noise) / xp.sum(rates, axis=-2, keepdims=True)
        v = -xp.sum(w * gains, axis=-2, keepdims=True) / n
        C = xp.matrix_transpose(2 * w * xp.conj(E) / n)
        if self.zero_forcing:
            S = -Q @ (xp.matrix_transpose(v) * (eye - 2 * users * Q) - C) @ Q
        else:
            S = C / users + v * eye
        back = xp.conj((S + adjoint(S)) @ H)
        leading = self.estimate1 + (self.estimate2 * x2) @ self.D
        turned1 = x1 * xp.sum(leading * (back @ xp.matrix_transpose(self.G1)), axis=-2, keepdims=True)
        turned2 = x2 * xp.sum(self.estimate2 * (back @ xp.matrix_transpose(onward)), axis=-2, keepdims=True)
        return -xp.reshape(xp.imag(xp.concat([turned1, turned2])), x.shape)

    def _rates(self, x: Array, h1: Array, h2: Array) -> Array:
        xp = array_api_compat.array_namespace(x)
        E, n, _ = self._response(self._channel(x, h1, h2)[-1])
        gains = xp.abs(E) ** 2 / (E.shape[-1] * n)
        signal = xp.linalg.diagonal(gains)
        return xp.log2(1 + signal / (1 + xp.sum(gains, axis=-1) - signal))

    def _channel(self, x: Array, h1: Array, h2: Array) -> tuple[Array, Array, Array, Array]:
        """Phasors as rows, shapes (B, 1, N), what leads to surface 2, and the users' channels."""
        xp = array_api_compat.array_namespace(x)
        half = x.shape[0] // 2
        x1, x2 = (xp.reshape(part, (half, 1, -1)) for part in (x[:half, ...], x[half:, ...]))
        onward = self.G2 + self.D @ (xp.matrix_transpose(x1) * self.G1)
        return x1, x2, onward, (h2 * x2) @ onward + (h1 * x1) @ self.G1

    def _response(self, H: Array) -> tuple[Array, Array, Array]:
        """Streams at the users before they share the power, their powers (B, 1, K), and the inverse Q."""
        xp = array_api_compat.array_namespace(H)
        E = H @ adjoint(H)
        if not self.zero_forcing:
            return E, xp.real(xp.linalg.diagonal(E))[..., None, :], E
        users = H.shape[-2]
        eye = xp.eye(users, dtype=H.dtype, device=array_api_compat.device(H))
        Q = xp.linalg.inv(E + users * eye)
        E = E @ Q
        return E, xp.real(xp.linalg.diagonal(Q @ E))[..., None, :], Q


@dataclass(frozen=True, eq=False)
class InstantaneousTask:
    """A `ris.predictors.task.Task`.

    Parameters
    ----------
    side : int
        Rows and columns of both surfaces.
    users : int
        Users of the systems of `systems`.
    zero_forcing : bool
        Whether the BS precodes by regularised zero forcing, or by maximum ratio.
    pilot_db : pair of float
        Range of the SNR of the pilots, for a mean channel between element and user.
    corrupted : float
        Share of the estimates, of an element by a user, that tell nothing: elements are sounded one after the
        other, and a burst of interference, 20 dB above the pilot, hits some of these moments.
    """

    side: int = 8
    users: int = 4
    zero_forcing: bool = True
    pilot_db: tuple[float, float] = (0.0, 30.0)
    corrupted: float = 0.0

    name = "instantaneous"
    channels = len(CHANNELS)

    @property
    def slope_products(self) -> int:
        """Real products of `InstantaneousBatch.known_slopes` for a system, but of K x K matrices."""
        N, M, K = self.side**2, ANTENNAS, self.users
        return 4 * (N**2 * (M + K) + 4 * N * M * K)

    def training_batch(self, step: int, count: int, seed: int) -> InstantaneousBatch:
        """New systems."""
        return self._draw(
            Stream(seed, self.name, "train"), USERS[step % len(USERS)], TRAINED, count, step * count
        )

    def systems(self, split: Split, count: int, first: int = 0) -> InstantaneousBatch:
        """Return systems of a split; another SNR of the pilots, or bursts, change the estimates alone."""
        geometry = UNSEEN if split == "unseen" else TRAINED
        return self._draw(Stream(0, self.name, split, self.users), self.users, geometry, count, first)

    def _draw(
        self, stream: Stream, users: int, geometry: Geometry, count: int, first: int
    ) -> InstantaneousBatch:
        side, N, M, K = self.side, self.side**2, ANTENNAS, users
        # At surface 1 towards the BS and surface 2, at 2 towards the BS and surface 1, then the users.
        angles, _ = directions(stream.child("directions"), 4 + 2 * K, count, first, geometry, (0.0, 0.0))
        waves = plane_waves(angles, side).reshape(count, -1, N)
        at_bs = np.pi * (2 * uniform(stream.child("BS"), 2, count, first) - 1)[..., None] * np.arange(M)
        rician = decibels(stream.child("Rician"), 3 + 2 * K, count, first, RICIAN_DB)
        gains = decibels(stream.child("gains"), 2 * K, count, first, SINGLE_DB)
        snr = decibels(stream.child("SNR"), 1, count, first, SNR_DB)[:, 0]
        ratio = decibels(stream.child("between"), 1, count, first, DOUBLE_DB)[:, 0]
        pilots = 10 ** (between(uniform(stream.child("pilots"), 1, count, first)[:, 0], self.pilot_db) / 10)

        def scattered(name: str, rows: int, columns: int) -> Complex:
            parts = normal(stream.child(name), 2 * rows * columns, count, first).reshape(
                count, rows, columns, 2
            )
            return np.asarray((parts[..., 0] + 1j * parts[..., 1]) / math.sqrt(2), np.complex128)

        def hop(name: str, number: int, left: Complex, right: Complex) -> Complex:
            sight = left[..., :, None] * right[..., None, :].conj()
            return _rician(sight, scattered(name, left.shape[-1], right.shape[-1]), rician[:, number])

        G1, G2 = (hop(f"BS to {i + 1}", i, waves[:, 2 * i], np.exp(1j * at_bs[:, i])) for i in (0, 1))
        D = hop("1 to 2", 2, waves[:, 3], waves[:, 1]) * np.sqrt(ratio / N**2)[:, None, None]
        h, known, strengths = [], [], []
        for i in (0, 1):
            gain = gains[:, i * K : (i + 1) * K] * (snr / (M * N**2))[:, None]
            sight = waves[:, 4 + i * K : 4 + (i + 1) * K].conj()
            factor = rician[:, 3 + i * K : 3 + (i + 1) * K]
            row = np.sqrt(gain)[..., None] * _rician(sight, scattered(f"users {i + 1}", K, N), factor)
            estimate = row + np.sqrt(gain / pilots[:, None])[..., None] * scattered(f"pilots {i + 1}", K, N)
            if self.corrupted:
                moments = uniform(stream.child(f"moments of bursts {i + 1}"), K * N, count, first)
                burst = np.sqrt(BURST * gain)[..., None] * scattered(f"bursts {i + 1}", K, N)
                estimate = np.where(moments.reshape(burst.shape) < self.corrupted, burst, estimate)
            h.append(row)
            known.append(estimate)
            strengths.append(gain * M * N**2)
        maps = _maps(G1, G2, D, known, strengths, ratio, pilots, side)
        estimates = [estimate_rows(rows, pilots[:, None], (side, side)) for rows in known]
        return InstantaneousBatch(
            maps, G1, G2, D, h[0], h[1], known[0], known[1], estimates[0], estimates[1], self.zero_forcing
        )


def _rician(sight: Complex, scattered: Complex, factor: Real) -> Complex:
    """Line of sight and scattering of mean power one, the Rician factor along the leading axes."""
    factor = factor.reshape(*factor.shape, *(1,) * (sight.ndim - factor.ndim))
    return (np.sqrt(factor) * sight + scattered) / np.sqrt(factor + 1)


def _maps(
    G1: Complex,
    G2: Complex,
    D: Complex,
    known: list[Complex],
    strengths: list[Real],
    ratio: Real,
    pilots: Real,
    side: int,
) -> NDArray[np.float32]:
    """Cascades: what steers each path if its hops between arrays had their strongest directions alone."""
    arriving1, arriving2 = _strongest(G1)[0], _strongest(G2)[0]
    arriving, leaving = _strongest(D)
    users = known[0].shape[1]
    double = strengths[1] * ratio[:, None]
    maps = np.zeros((2, *strengths[0].shape, len(CHANNELS), side, side), np.float32)
    position = np.linspace(-1, 1, side)
    for surface, (single, onward) in enumerate(
        (
            (known[0] * arriving1[:, None], np.repeat((leaving.conj() * arriving1)[:, None], users, axis=1)),
            (known[1] * arriving2[:, None], known[1] * arriving[:, None]),
        )
    ):
        for i, row in enumerate((single, onward)):
            # A row of the channel; what steers it is its conjugate.
            level = np.sqrt((np.abs(row) ** 2).mean(axis=-1, keepdims=True))
            steering = (row.conj() / level).reshape(*row.shape[:-1], side, side)
            maps[surface, ..., 2 * i, :, :], maps[surface, ..., 2 * i + 1, :, :] = (
                steering.real,
                steering.imag,
            )
        for i, value in enumerate((strengths[surface], double, strengths[1 - surface], pilots[:, None])):
            maps[surface, ..., 6 + i, :, :] = np.log10(value)[..., None, None]
        maps[surface, ..., 10, :, :] = surface
    maps[..., 4, :, :], maps[..., 5, :, :] = position[:, None], position
    return maps.reshape(-1, *maps.shape[2:])


def _strongest(G: Complex) -> tuple[Complex, Complex]:
    """First left and right singular vectors, by power iteration from the first row.

    With a line of sight of the power of the scattering, the second singular value is below 4 / sqrt(N) of the
    first at N elements, and an iteration shrinks what is left of it by the square of that.
    """
    right = _normalised(G[..., :1, :].conj().swapaxes(-1, -2))
    for _ in range(ITERATIONS):
        left = _normalised(G @ right)
        right = _normalised(G.conj().swapaxes(-1, -2) @ left)
    return left[..., 0], right[..., 0]


def _normalised(columns: Complex) -> Complex:
    return np.asarray(columns / np.linalg.norm(columns, axis=-2, keepdims=True))
