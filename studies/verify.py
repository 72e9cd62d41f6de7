r"""Verification: the closed forms of random systems against simulation, at a stated false-alarm rate.

Each comparison is a z value, (simulated - closed form) / standard error. Fourth moments of products of
Gaussian matrices are skewed to the right, and then z is not normal at few realizations: a sample without its
rare large values has a low mean and a low standard error. For the studentised mean of n values of skewness g,
the tail beyond -x is

    P(z < -x) = Phi(-x) exp(g x^3 / (3 sqrt(n))) (1 + o(1)),       x = o(sqrt(n)),

the leading term of the large deviations of self-normalised sums. So every system gets enough realizations to
hold s = g / sqrt(n) down to `LARGEST_SKEWNESS`, and the threshold x that solves Phi(-x) exp(s x^3 / 3) =
rate / 2 with its share of the total false-alarm rate (Bonferroni).

The skewness g of |h_k|^4 comes from a model, as rare values hide from any pilot draw: |h_k|^2 is a Gamma
variable of the BS times the sum of w_p Y_p over the paths p, with Y = 1 for the direct path, a Gamma variable
for a single and a product of two for the double reflection. A covariance X counts as (tr X)^2 / tr X^2
degrees of freedom. With uncorrelated hops and one path that is the law of |h_k|^2. Elements that fail or lose
amplitude at random make a surface's gain one more Gamma variable, of as many elements as degrees of freedom.
A line of sight counts into the covariances at both ends of its hop, as if it were random too. That leaves out
what paths share. So the sum is then multiplied by one more Gamma variable if it varies less than the closed
form of E|h_k|^4.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtri

import channels
import ris
from channels.checks import integer
from ris.csi import AnyCsi
from ris.options import Engine
from studies.quantities import z_values

__all__ = ["FALSE_ALARM", "POWER", "Comparison", "RandomSystem", "Verification", "random_system", "verify"]

FALSE_ALARM = 1e-6
"""Chance that `verify` fails although every closed form is right."""

POWER = 0.99
"""Chance that an effect of the detectable size makes `verify` fail."""

LARGEST_SKEWNESS = 0.08
"""Largest skewness of a mean: beyond, the tail of z is no longer under control at a rate of 1e-10."""

MODEL_MARGIN = 1.5
"""Skewness is taken as this many times what the model says."""

MOST_SKEWED = 40.0
"""Systems of more modelled skewness are drawn again: they would take millions of realizations."""

ROUNDING = 1e-6
"""A model lacks nothing if less of E|h_k|^4, relative: below, its Gamma factor is lost in rounding."""

PATHS = ("direct", "single1", "single2", "double")


@dataclass(frozen=True, eq=False)
class RandomSystem:
    """A random system, its phases, its powers, what the BS knows, and the engine that simulates it."""

    system: ris.DoubleRIS
    theta1: NDArray[np.float64]
    theta2: NDArray[np.float64]
    power: float
    noise_power: float
    csi: AnyCsi
    engine: Engine
    name: str


@dataclass(frozen=True)
class Comparison:
    """One closed form against its simulation.

    Attributes
    ----------
    system : str
        What the system is.
    quantity : str
        What was compared.
    z, threshold : float
        Distance in standard errors, and the largest that passes.
    detectable : float
        Smallest true effect that fails with probability `POWER`: of rates in bit/s/Hz, else relative.
    """

    system: str
    quantity: str
    z: float
    threshold: float
    detectable: float

    @property
    def passed(self) -> bool:
        """Whether closed form and simulation agree; not so if z is NaN."""
        return abs(self.z) <= self.threshold


@dataclass(frozen=True)
class Verification:
    """All comparisons of a run of `verify`, and the number of realizations that they took."""

    comparisons: list[Comparison]
    realizations: int

    @property
    def passed(self) -> bool:
        """Whether every comparison passed."""
        return all(comparison.passed for comparison in self.comparisons)


def verify(
    *,
    systems: int = 200,
    seed: int = 1,
    realizations: int = 100_000,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Verification:
    """Compare the closed forms of random systems with simulation.

    Parameters
    ----------
    systems : int
        Number of random systems.
    seed : int
        Seed of the systems and of their simulations.
    realizations : int
        Fewest realizations of a system; skewed ones take more.
    threads : int, optional
        Threads of the simulation.
    progress : callable, optional
        Called with the share of the systems that are done.

    Returns
    -------
    Verification
        Fails with probability `FALSE_ALARM` at most if every closed form is right.
    """
    integer("systems", systems, minimum=1)
    integer("realizations", realizations, minimum=1000)
    chosen = [random_system(seed, number) for number in range(systems)]
    rate = FALSE_ALARM / sum(map(_comparisons, chosen))
    found: list[Comparison] = []
    drawn = 0
    for number, one in enumerate(chosen):
        stream = channels.Stream(seed, "verify", number)
        skewness = MODEL_MARGIN * modelled_skewness(one)
        count = max(realizations, math.ceil((skewness / LARGEST_SKEWNESS) ** 2))
        threshold = _threshold(rate, skewness / math.sqrt(count))
        found += _compare(one, count, stream, threshold, threads)
        drawn += count
        if progress is not None:
            progress((number + 1) / systems)
    return Verification(found, drawn)


def random_system(seed: int, number: int) -> RandomSystem:
    """Return a random system; the same for the same seed and number.

    M = 1..6, N1, N2 = 1..10, K = 1..4; any set of paths; complex covariances of random rank, unequal at the
    two ends of every hop, shared by the users or their own; in half of the systems lines of sight in some
    hops; phase noise, hardware and interference at each surface; random phases; any engine. Drawn again until
    `modelled_skewness` is at most `MOST_SKEWED`.
    """
    candidates = (
        _drawn(np.random.default_rng((seed, number, attempt)), number) for attempt in itertools.count()
    )
    return next(one for one in candidates if modelled_skewness(one) <= MOST_SKEWED)


def modelled_skewness(one: RandomSystem) -> float:
    """Return the largest skewness of |h_k|^4 over the users, by the model above."""
    gains = [_gain_moments(one, user) for user in range(one.system.users)]
    skewness = max(map(_skewness_of_square, gains))
    if not one.system.line_of_sight or not skewness <= MOST_SKEWED:
        return skewness
    exact = ris.closed_form_moments(one.system, one.theta1, one.theta2)
    ratios = np.diagonal(exact.interference) / exact.mean_gain**2
    return max(_skewness_of_square(_matched(gain, ratio)) for gain, ratio in zip(gains, ratios, strict=True))


def _matched(gain: NDArray[np.float64], ratio: float) -> NDArray[np.float64]:
    """Multiply by a Gamma variable, if needed for that ratio of the second moment to the first squared."""
    missing = ratio * gain[1] ** 2 / gain[2]
    return np.asarray(gain * _gamma(1 / (missing - 1)) if missing > 1 + ROUNDING else gain)


def _gain_moments(one: RandomSystem, user: int) -> NDArray[np.float64]:
    """Raw moments of order 0 to 6 of |h_k|^2 by the model."""
    system = one.system
    thetas, noise = (one.theta1, one.theta2), (system.phase_noise1, system.phase_noise2)
    hardware = system.hardware1, system.hardware2
    total = np.eye(1, 7)[0]
    antennas: list[float] = []

    def covariance(hop: channels.UserHop) -> NDArray[Any]:
        matrix = np.asarray(
            hop.correlation.matrix if hop.correlation.matrix.ndim == 2 else hop.correlation.matrix[user]
        )
        return (
            matrix
            if hop.mean is None
            else matrix + np.outer(hop.mean[user], hop.mean[user].conj()) / hop.gain[user]
        )

    def reflected(surface: int, before: Any, after: Any) -> tuple[float, NDArray[np.float64]]:
        phasors = np.exp(1j * thetas[surface])
        product = np.asarray(before) @ (phasors[:, None] * np.asarray(after) * phasors.conj())
        freedom = _freedom(product)
        spread = _spread_of_power(hardware[surface], noise[surface], thetas[surface])
        gain = _gamma(freedom / spread) if spread > 0 else np.ones(7)
        return float(np.trace(product).real), _gamma(freedom) * gain

    def add(weight: float, moments: NDArray[np.float64], at_bs: Any) -> None:
        nonlocal total
        total = _sum_moments(total, weight ** np.arange(7) * moments)
        antennas.append(_freedom(np.asarray(at_bs)))

    if system.bs_user is not None:
        add(float(system.bs_user.gain[user]), np.ones(7), covariance(system.bs_user))
    for surface, hop, user_hop in (
        (0, system.bs_ris1, system.ris1_user),
        (1, system.bs_ris2, system.ris2_user),
    ):
        if hop is not None and user_hop is not None:
            trace, moments = reflected(surface, _right(hop), covariance(user_hop))
            add(float(hop.gain * user_hop.gain[user]) * trace, moments, _left(hop))
    if system.bs_ris1 is not None and system.ris1_ris2 is not None and system.ris2_user is not None:
        trace1, moments1 = reflected(0, _right(system.bs_ris1), _left(system.ris1_ris2))
        trace2, moments2 = reflected(1, _right(system.ris1_ris2), covariance(system.ris2_user))
        gain = float(system.bs_ris1.gain * system.ris1_ris2.gain * system.ris2_user.gain[user])
        add(gain * trace1 * trace2, moments1 * moments2, _left(system.bs_ris1))
    return np.asarray(total * _gamma(min(antennas)))


def _spread_of_power(
    hardware: channels.Hardware, noise: channels.PhaseNoise, theta: NDArray[np.float64]
) -> float:
    """Variance over squared mean of |e|^2, the largest of all elements."""
    _, _, power, _, fourth = hardware.moments(noise, theta)
    return float(np.max(np.divide(fourth, np.square(power)))) - 1


def _right(hop: channels.Hop) -> NDArray[Any]:
    """Second moments E A^H A of a hop on its right side, over gain and trace of its left covariance."""
    R = np.asarray(hop.right)
    if hop.mean is None:
        return R
    mean = hop.mean.matrix
    return np.asarray(R + mean.conj().T @ mean / (hop.gain * np.trace(np.asarray(hop.left)).real))


def _left(hop: channels.Hop) -> NDArray[Any]:
    """Second moments E A A^H of a hop on its left side, at the trace of its left covariance."""
    R = np.asarray(hop.left)
    if hop.mean is None:
        return R
    mean = hop.mean.matrix
    second = R + mean @ mean.conj().T / (hop.gain * np.trace(np.asarray(hop.right)).real)
    return np.asarray(second * (np.trace(R) / np.trace(second)).real)


def _freedom(matrix: NDArray[Any]) -> float:
    return max(1.0, float(np.trace(matrix).real ** 2 / np.sum(matrix * matrix.T).real))


def _gamma(freedom: float) -> NDArray[np.float64]:
    """Raw moments of order 0 to 6 of a Gamma variable of mean 1 and that shape."""
    return np.cumprod([1.0, *(1 + np.arange(6) / freedom)])


def _sum_moments(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Raw moments of the sum of two independent variables."""
    return np.array([sum(math.comb(n, i) * first[i] * second[n - i] for i in range(n + 1)) for n in range(7)])


def _skewness_of_square(moments: NDArray[np.float64]) -> float:
    first, second, third = moments[[2, 4, 6]] / moments[1] ** np.array([2, 4, 6])
    variance = second - first**2
    return float((third - 3 * first * second + 2 * first**3) / variance**1.5)


def _drawn(rng: np.random.Generator, number: int) -> RandomSystem:
    M, N1, N2, K = (int(rng.integers(1, top + 1)) for top in (6, 10, 10, 4))
    subsets = [paths for size in range(1, 5) for paths in itertools.combinations(PATHS, size)]
    paths = subsets[rng.integers(len(subsets))]

    rician = rng.random() < 0.5

    def waves(*shape: int) -> NDArray[np.complex128] | None:
        """Entries of a line of sight, or None."""
        if not rician or rng.random() < 0.4:
            return None
        return np.asarray(np.exp(1j * rng.uniform(-np.pi, np.pi, shape)) * 10 ** rng.uniform(-0.7, 0.4))

    def hop(left: int, right: int) -> channels.Hop:
        mean = waves(left + right, 1)
        sight = None if mean is None else channels.LineOfSight(mean[:left], mean[left:])
        return channels.Hop(rng.uniform(0.3, 3), _covariance(rng, left), _covariance(rng, right), sight)

    def user_hop(size: int) -> channels.UserHop:
        own = rng.random() < 0.5
        covariance = _covariance(rng, size, (K,) if own else ())
        return channels.UserHop(rng.uniform(0.3, 3, K), covariance, waves(K, size))

    system = ris.DoubleRIS(
        bs_ris1=hop(M, N1) if {"single1", "double"} & {*paths} else None,
        bs_ris2=hop(M, N2) if "single2" in paths else None,
        ris1_ris2=hop(N1, N2) if "double" in paths else None,
        ris1_user=user_hop(N1) if "single1" in paths else None,
        ris2_user=user_hop(N2) if {"single2", "double"} & {*paths} else None,
        bs_user=user_hop(M) if "direct" in paths else None,
        phase_noise1=_noise(rng),
        phase_noise2=_noise(rng),
    )
    system = dataclasses.replace(
        system,
        hardware1=_hardware(rng, system.elements1),
        hardware2=_hardware(rng, system.elements2),
        emi1=_interference(rng, system.elements1, system.single1 or system.double),
        emi2=_interference(rng, system.elements2, system.single2 or system.double),
    )
    theta1, theta2 = (rng.uniform(-np.pi, np.pi, n) for n in (system.elements1, system.elements2))
    csi = _csi(rng, system, theta1, theta2)
    gain = float(np.sum(ris.closed_form_moments(system, theta1, theta2, csi).precoder_gain))
    noise_power = gain / K * 10 ** rng.uniform(-2, 1)
    engine = get_args(Engine)[rng.integers(len(get_args(Engine)))]
    sizes = f"M={M}, N1={N1}, N2={N2}, K={K}"
    name = f"{number}: {' + '.join(paths)}, {sizes}, {_csi_name(csi)} CSI, {engine} engine"
    if system.line_of_sight:
        name += ", line of sight"
    return RandomSystem(system, theta1, theta2, 1.0, noise_power, csi, engine, name)


def _csi(
    rng: np.random.Generator,
    system: ris.DoubleRIS,
    theta1: NDArray[np.float64],
    theta2: NDArray[np.float64],
) -> AnyCsi:
    draw = rng.random()
    if draw < 0.75:
        return "nominal" if draw < 0.25 else "perfect"
    gain = float(np.mean(ris.closed_form_moments(system, theta1, theta2).mean_gain)) / system.antennas
    length = int(rng.integers(1, system.users + 1))
    return ris.LmmseCsi(length, power=1.0, noise_power=length * gain * 10 ** rng.uniform(-1.5, 0.5))


def _csi_name(csi: AnyCsi) -> str:
    return f"{csi.length}-pilot LMMSE" if isinstance(csi, ris.PilotCsi) else csi


def _covariance(rng: np.random.Generator, size: int, lead: tuple[int, ...] = ()) -> NDArray[np.complex128]:
    """Complex, eigenvalues of ratio at most 3 on a random subspace of half the dimensions or more."""
    rank = int(rng.integers(-(-size // 2), size + 1))
    shape = (*lead, size, size)
    basis = np.linalg.qr(rng.standard_normal(shape) + 1j * rng.standard_normal(shape))[0][..., :rank]
    matrix = (basis * rng.uniform(0.5, 1.5, (*lead, 1, rank))) @ np.conj(np.swapaxes(basis, -1, -2))
    trace = np.trace(matrix, axis1=-2, axis2=-1).real
    return np.asarray(matrix * (size / trace)[..., None, None])


def _noise(rng: np.random.Generator) -> channels.PhaseNoise:
    laws = (
        channels.NoNoise(),
        channels.VonMises(rng.uniform(0, 8)),
        channels.UniformNoise(rng.uniform(0, math.pi)),
        channels.WrappedNormal(rng.uniform(0, 1.5)),
        channels.QuantizationNoise(int(rng.integers(1, 4))),
    )
    first, second = (laws[i] for i in rng.integers(len(laws), size=2))
    return first + second if rng.random() < 0.2 else first


def _hardware(rng: np.random.Generator, elements: int) -> channels.Hardware:
    """Amplitudes in a third of the draws, failures of up to a quarter of the elements in another third."""
    amplitude, failures = None, None
    if rng.random() < 1 / 3:
        minimum, offset, steepness = rng.uniform(0.3, 1), rng.uniform(-math.pi, math.pi), rng.uniform(1, 3)
        amplitude = channels.PhaseDependentAmplitude(minimum, offset, steepness)
    if elements > 0 and rng.random() < 1 / 3:
        chances = rng.uniform(0, 0.25, elements)
        phases = rng.uniform(-math.pi, math.pi, elements)
        state = ("absorbing", "random_phase", phases)[rng.integers(3)]
        failures = channels.ElementFailures(chances if rng.random() < 0.5 else chances[0], state)
    return channels.Hardware(amplitude=amplitude, failures=failures)


def _interference(rng: np.random.Generator, elements: int, reached: bool) -> channels.Interference | None:
    if not reached or rng.random() < 2 / 3:
        return None
    return channels.Interference(rng.uniform(0.1, 3), _covariance(rng, elements))


def _threshold(rate: float, skewness: float) -> float:
    """Solve Phi(-x) exp(skewness x^3 / 3) = rate / 2 for x."""

    def excess(x: float) -> float:
        return float(log_ndtr(-x)) + skewness * x**3 / 3 - math.log(rate / 2)

    return float(brentq(excess, 0, min(40.0, 1 / skewness) if skewness > 0 else 40.0))


def _comparisons(one: RandomSystem) -> int:
    users = one.system.users
    pairs = users * (users + 1) // 2
    emi = users if one.system.emi1 or one.system.emi2 else 0
    return users + (pairs + pairs - users if one.csi == "perfect" else users**2 + users) + users + emi


def _compare(
    one: RandomSystem, count: int, stream: channels.Stream, threshold: float, threads: int | None
) -> Iterator[Comparison]:
    moments = ris.closed_form_moments(one.system, one.theta1, one.theta2, one.csi)
    rate = ris.rate_from_moments(moments, power=one.power, noise_power=one.noise_power)
    simulation = ris.simulate(
        one.system,
        one.theta1,
        one.theta2,
        power=one.power,
        noise_power=one.noise_power,
        realizations=count,
        seed=stream,
        csi=one.csi,
        engine=one.engine,
        threads=threads,
    )
    K = one.system.users
    once, pairs = np.triu_indices(K), np.triu_indices(K, 1)
    everything = np.ones((K, K), dtype=bool)
    tests: list[tuple[str, Any, ris.Estimate, Any, Any]] = [
        ("mean gain", moments.mean_gain, simulation.mean_gain, ..., moments.precoder_gain),
        ("hardening rate", rate, simulation.hardening_rate, ..., np.ones(K)),
    ]
    if simulation.emi_power is not None:
        tests += [("EMI power", moments.emi_power, simulation.emi_power, ..., moments.emi_power)]
    if moments.gain_product is not None:  # symmetric, with the diagonal of the interference
        tests += [
            ("gain product", moments.gain_product, simulation.gain_product, once, moments.gain_product),
            ("interference", moments.interference, simulation.interference, pairs, moments.interference),
        ]
    else:
        tests += [
            ("precoder gain", moments.precoder_gain, simulation.precoder_gain, ..., moments.precoder_gain),
            ("interference", moments.interference, simulation.interference, everything, moments.interference),
        ]
    for quantity, closed, estimate, where, scale in tests:
        z = z_values(closed[where], estimate.value[where], estimate.standard_error[where])
        detectable = (threshold + float(ndtri(POWER))) * estimate.standard_error[where] / scale[where]
        for z_value, effect in zip(z.ravel(), np.ravel(detectable), strict=True):
            yield Comparison(one.name, quantity, float(z_value), threshold, float(effect))
