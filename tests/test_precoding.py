"""Precoding matrices: against direct formulas, optimality conditions, searches, and known answers."""

import itertools

import numpy as np
import pytest
import scipy.optimize
from systems import covariance

import channels
import ris
from ris.linear_precoding import allocate
from ris.wmmse import STARTS

POWER, NOISE = 5.0, 0.7
KINDS = (ris.MRT, ris.ZF, ris.RZF)
ALLOCATIONS = ("common", "equal", "max_min", "water_filling")
EVERY = [
    kind(normalisation=normalisation, allocation=allocation)
    for kind, normalisation, allocation in itertools.product(KINDS, ("realization", "long_term"), ALLOCATIONS)
]
BY_REALIZATION = [precoder for precoder in EVERY if precoder.normalisation == "realization"]


def draw(seed, n=40, M=5, K=3, spread=1.0):
    """Channels of users whose gains differ."""
    rng = np.random.default_rng(seed)
    H = rng.standard_normal((n, M, K)) + 1j * rng.standard_normal((n, M, K))
    return H * np.exp(spread * rng.uniform(-1, 1, (n, 1, K)))


def precode(H, precoder, power=POWER, noise_power=NOISE):
    return ris.precode(H, precoder, power=power, noise_power=noise_power)


def sum_rate(H, F, noise_power=NOISE):
    return np.log2(1 + ris.sinr(H, F, noise_power=noise_power)).sum(axis=-1)


def unit(F):
    return F / np.linalg.norm(F, axis=-2, keepdims=True)


def adjoint(X):
    return np.conj(np.swapaxes(X, -1, -2))


# SINR and power


def test_sinr_is_the_sum_written_out():
    H, F = draw(1, n=2, M=3, K=2), draw(2, n=2, M=3, K=2)
    got = ris.sinr(H, F, noise_power=NOISE)
    for t in range(2):
        gain = [[abs(np.vdot(H[t, :, k], F[t, :, j])) ** 2 for j in range(2)] for k in range(2)]
        np.testing.assert_allclose(got[t, 0], gain[0][0] / (gain[0][1] + NOISE), rtol=1e-13)
        np.testing.assert_allclose(got[t, 1], gain[1][1] / (gain[1][0] + NOISE), rtol=1e-13)


@pytest.mark.parametrize("precoder", [*EVERY, ris.WMMSE()], ids=repr)
def test_power(precoder):
    powers = np.sum(np.abs(precode(draw(3), precoder)) ** 2, axis=(1, 2))
    if getattr(precoder, "normalisation", "realization") == "realization":
        np.testing.assert_allclose(powers, POWER, rtol=1e-12)
    else:
        np.testing.assert_allclose(powers.mean(), POWER, rtol=1e-12)
        assert powers.std() > 0.01 * POWER


@pytest.mark.parametrize("kind", KINDS)
def test_equal_power(kind):
    H = draw(4)
    now = np.linalg.norm(precode(H, kind(normalisation="realization", allocation="equal")), axis=1) ** 2
    np.testing.assert_allclose(now, POWER / 3, rtol=1e-12)
    mean = np.linalg.norm(precode(H, kind(normalisation="long_term", allocation="equal")), axis=1) ** 2
    np.testing.assert_allclose(mean.mean(axis=0), POWER / 3, rtol=1e-12)


@pytest.mark.parametrize("precoder", EVERY, ids=repr)
def test_long_term_scales_never_change(precoder):
    """Against the columns without normalisation: one positive factor a user, of all users with "common"."""
    H = draw(5)
    raw = {ris.MRT: H, ris.ZF: adjoint(np.linalg.pinv(H))}.get(type(precoder))
    if raw is None:
        raw = H @ np.linalg.inv(adjoint(H) @ H + 3 * NOISE / POWER * np.eye(3))
    factor = precode(H, precoder) / raw
    np.testing.assert_allclose(factor, np.broadcast_to(factor[:, :1], H.shape).real, rtol=1e-9)
    by_user = np.broadcast_to(factor[:1, :1].real, H.shape)
    if precoder.normalisation == "long_term":
        np.testing.assert_allclose(factor, by_user, rtol=1e-9)
    if precoder.allocation == "common":
        np.testing.assert_allclose(factor[:, 0], np.broadcast_to(factor[:, 0, :1], (40, 3)), rtol=1e-9)


# Directions


@pytest.mark.parametrize(("M", "K"), [(1, 1), (3, 3), (5, 3), (16, 8)])
def test_zero_forcing(M, K):
    H = draw(6, M=M, K=K)
    F = precode(H, ris.ZF())
    np.testing.assert_allclose(unit(F), unit(adjoint(np.linalg.pinv(H))), atol=1e-9)
    through = adjoint(H) @ F
    own = np.einsum("tkk->tk", through)
    assert np.all(own.real > 0)
    assert np.abs(through - own[:, None] * np.eye(K)).max() < 1e-11 * np.abs(H).max() * np.sqrt(POWER)


@pytest.mark.parametrize(("M", "K"), [(1, 3), (3, 3), (5, 3), (16, 8)])
@pytest.mark.parametrize("regularisation", [None, 0.3])
def test_regularised_zero_forcing_is_the_inverse_over_the_antennas(M, K, regularisation):
    H = draw(7, M=M, K=K)
    a = K * NOISE / POWER if regularisation is None else regularisation
    direct = np.linalg.solve(H @ adjoint(H) + a * np.eye(M), H)
    direct *= np.sqrt(POWER / np.sum(np.abs(direct) ** 2, axis=(1, 2), keepdims=True))
    got = precode(H, ris.RZF(regularisation, allocation="common"))
    np.testing.assert_allclose(got, direct, atol=1e-11)


def test_regularisation_of_zero_is_zero_forcing():
    H = draw(8)
    np.testing.assert_array_equal(precode(H, ris.RZF(0.0)), precode(H, ris.ZF()))


def test_mmse_counts_the_errors_as_interference():
    H, errors = draw(7, M=5, K=3), covariance(np.random.default_rng(3), 5, rank=2)
    direct = np.linalg.solve(H @ adjoint(H) + errors + 3 * NOISE / POWER * np.eye(5), H)
    got = ris.precode(H, ris.MMSE(), power=POWER, noise_power=NOISE, error_covariance=errors)
    np.testing.assert_allclose(got, unit(direct) * np.sqrt(POWER / 3), atol=1e-11)
    np.testing.assert_array_equal(precode(H, ris.MMSE()), precode(H, ris.RZF()))
    none = ris.precode(H, ris.MMSE(), power=POWER, noise_power=NOISE, error_covariance=np.zeros((5, 5)))
    np.testing.assert_allclose(none, precode(H, ris.RZF()), atol=1e-11)


def test_regularised_zero_forcing_maximises_signal_to_leakage_and_noise():
    """The largest |h_k^H w|^2 / w^H A_k w is h_k^H A_k^(-1) h_k: the SINR of an uplink MMSE receiver."""
    H = draw(9)
    w, c = unit(precode(H, ris.RZF())), 3 * NOISE / POWER
    for k in range(3):
        h, others = H[..., k], np.delete(H, k, axis=-1)
        A = others @ adjoint(others) + c * np.eye(5)
        ratio = np.abs(np.sum(h.conj() * w[..., k], axis=1)) ** 2
        ratio /= np.einsum("ti,tij,tj->t", w[..., k].conj(), A, w[..., k]).real
        best = np.sum(h.conj() * np.linalg.solve(A, h[..., None])[..., 0], axis=1).real
        np.testing.assert_allclose(ratio, best, rtol=1e-10)


def test_regularised_zero_forcing_is_the_transmit_wiener_filter():
    """It minimises E|s - g (H^H F s + n)|^2 over F of that power and g > 0: no neighbour does better."""
    H = draw(10, n=1)[0]
    F = precode(H, ris.RZF(allocation="common"))
    rng = np.random.default_rng(11)

    def error(F):
        T = adjoint(H) @ F
        g = np.trace(T).real / (np.linalg.norm(T) ** 2 + 3 * NOISE)
        return np.linalg.norm(np.eye(3) - g * T) ** 2 + 3 * g**2 * NOISE

    for size in (1e-3, 0.1, 1.0):
        for _ in range(50):
            other = F + size * (rng.standard_normal(F.shape) + 1j * rng.standard_normal(F.shape))
            other *= np.sqrt(POWER) / np.linalg.norm(other)
            assert error(F) < error(other)


# Allocation


def required_power(target, signal, interference, noise_power):
    """Power for all SINRs to be `target`; infinite where no powers do it."""
    coupling = target * interference / signal[:, None]
    if np.abs(np.linalg.eigvals(coupling)).max() >= 1:
        return np.inf
    K = len(signal)
    return np.linalg.solve(np.eye(K) - coupling, target * noise_power / signal).sum()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("power", [1e-6, 1.0, 1e6])
def test_max_min_powers_against_bisection(kind, power):
    H = draw(12, n=20, M=5, K=4)
    precoder = kind(normalisation="realization", allocation="max_min")
    sinr = ris.sinr(H, precode(H, precoder, power), noise_power=NOISE)
    np.testing.assert_allclose(sinr, np.broadcast_to(sinr[:, :1], sinr.shape), rtol=1e-9)
    for h, f, got in zip(H, unit(precode(H, precoder, power)), sinr, strict=True):
        gains = np.abs(adjoint(h) @ f) ** 2
        signal, interference = np.diag(gains), gains - np.diag(np.diag(gains))

        def excess(log_target, signal=signal, interference=interference):
            needed = required_power(np.exp(log_target), signal, interference, NOISE)
            return min(needed / power, 1e3) - 1

        best = scipy.optimize.brentq(excess, -40, 40, xtol=1e-12)
        np.testing.assert_allclose(got, np.exp(best), rtol=1e-9)


@pytest.mark.parametrize("K", [1, 2, 3, 8, 16])
def test_max_min_powers_of_weak_and_strong_coupling(K):
    """Two users that disturb each other and nobody else have eigenvalues of both signs."""
    rng = np.random.default_rng(13)
    signal = np.exp(rng.uniform(-8, 8, (K, 30)))
    interference = np.exp(rng.uniform(-12, 12, (K, K, 30))) * (rng.random((K, K, 30)) < 0.5)
    interference[range(K), range(K)] = 0
    powers = allocate("max_min", signal, interference, 1.0, 1e-9)
    sinr = signal * powers / (np.einsum("kjt,jt->kt", interference, powers) + 1e-9)
    np.testing.assert_allclose(powers.sum(axis=0), 1.0, rtol=1e-13)
    np.testing.assert_allclose(sinr, np.broadcast_to(sinr[0], sinr.shape), rtol=1e-9)
    assert np.all(powers > 0)


def test_water_filling_meets_its_optimality_conditions():
    """Convex: one level for users with power, floors above it for the others, all power spent."""
    rng = np.random.default_rng(14)
    signal = np.exp(rng.uniform(-6, 6, (6, 500)))
    powers = allocate("water_filling", signal, np.zeros((6, 6, 500)), POWER, NOISE)
    active = powers > 0
    assert np.all(powers >= 0)
    np.testing.assert_allclose(powers.sum(axis=0), POWER, rtol=1e-12)
    levels = np.where(active, powers + NOISE / signal, np.nan)
    level = np.nanmax(levels, axis=0)
    np.testing.assert_allclose(np.nanmin(levels, axis=0), level, rtol=1e-12)
    assert np.all(active | (NOISE / signal >= level))
    assert set(np.unique(active.sum(axis=0))) >= {1, 2, 3, 4}


def test_water_filling_of_a_power_far_below_the_noise():
    powers = allocate("water_filling", np.ones((2, 1)), np.zeros((2, 2, 1)), 1e-14, 1.0)
    np.testing.assert_allclose(powers, [[5e-15], [5e-15]], rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_allocations_rank_as_they_should(kind):
    H = draw(15, n=200)
    sinr = {
        name: ris.sinr(H, precode(H, kind(normalisation="realization", allocation=name)), noise_power=NOISE)
        for name in ALLOCATIONS
    }
    for name in ("common", "equal", "water_filling"):
        assert np.all(sinr[name].min(axis=1) <= sinr["max_min"].min(axis=1) * (1 + 1e-9))
    rate = {name: np.log2(1 + found).sum(axis=1) for name, found in sinr.items()}
    if kind is ris.ZF:
        np.testing.assert_allclose(sinr["common"], sinr["max_min"], rtol=1e-9)
        assert all(np.all(rate["water_filling"] >= rate[name] - 1e-12) for name in ALLOCATIONS)


@pytest.mark.parametrize("kind", KINDS)
def test_long_term_max_min_equalises_the_hardening_bound(kind):
    H = draw(16, n=500)
    F = precode(H, kind(normalisation="long_term", allocation="max_min"))
    through = adjoint(H) @ F
    mean = np.abs(np.einsum("tkk->tk", through).mean(axis=0)) ** 2
    sinr = mean / ((np.abs(through) ** 2).mean(axis=0).sum(axis=1) - mean + NOISE)
    np.testing.assert_allclose(sinr, sinr[0], rtol=1e-9)


# WMMSE


def wmmse(H, power=POWER, noise_power=NOISE, **options):
    return ris.wmmse(H, ris.WMMSE(**options), power=power, noise_power=noise_power)


@pytest.mark.parametrize("power", [0.1, 10.0, 1000.0])
@pytest.mark.parametrize(("M", "K"), [(4, 4), (6, 3), (2, 4)])
def test_wmmse_never_falls_and_never_stays_below_a_linear_precoder(M, K, power):
    H = draw(17, n=30, M=M, K=K)
    rates = [wmmse(H, power, iterations=n, tolerance=1e-15).weighted_sum_rate for n in (1, 2, 3, 5, 10, 40)]
    for before, after in itertools.pairwise(rates):
        assert np.all(after >= before * (1 - 1e-12))
    for precoder in BY_REALIZATION:
        if K <= M or not isinstance(precoder, ris.ZF):
            assert np.all(rates[0] >= sum_rate(H, precode(H, precoder, power)) * (1 - 1e-9))
    assert np.all(rates[-1] > sum_rate(H, precode(H, ris.RZF(), power)))


def test_wmmse_starts_are_all_linear_precoders():
    assert set(STARTS) == set(BY_REALIZATION)


def test_wmmse_says_what_it_reached():
    H = draw(18)
    found = wmmse(H)
    rate = sum_rate(H, found.precoders)
    np.testing.assert_allclose(found.weighted_sum_rate, rate, rtol=1e-11)
    assert np.all(found.converged)
    assert np.all(found.iterations < 1000)
    np.testing.assert_array_equal(precode(H, ris.WMMSE()), found.precoders)
    short = wmmse(H, iterations=2, tolerance=1e-12)
    assert not np.any(short.converged)
    assert np.all(short.iterations == 2)


def rate_of(v, H, power, weights, noise_power=NOISE):
    """Weighted sum rate of precoders as real numbers, scaled to the power."""
    F = (v[: v.size // 2] + 1j * v[v.size // 2 :]).reshape(H.shape)
    F = F * np.sqrt(power) / np.linalg.norm(F)
    return float(np.log2(1 + ris.sinr(H, F, noise_power=noise_power)) @ weights)


def flat(F):
    return np.concatenate([F.real.ravel(), F.imag.ravel()])


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (2.0, 0.5, 1.0)])
def test_wmmse_ends_where_the_rate_is_stationary(weights):
    """The gradient over the sphere of that power, by central differences, against that of the start."""
    for H in draw(19, n=5, spread=0.3):
        end = flat(wmmse(H, weights=weights, tolerance=1e-14, iterations=20000).precoders)
        start = flat(precode(H, ris.RZF()))

        def slope(v, H=H):
            steps = 1e-5 * np.eye(len(v))
            return np.array(
                [
                    (
                        rate_of(v + e, H, POWER, np.array(weights))
                        - rate_of(v - e, H, POWER, np.array(weights))
                    )
                    / 2e-5
                    for e in steps
                ]
            )

        assert np.linalg.norm(slope(end)) < 1e-4 * np.linalg.norm(slope(start))


@pytest.mark.parametrize("power", [1.0, 100.0])
def test_wmmse_against_a_search_from_many_starts(power):
    """Two users, two antennas: the best of 16 quasi-Newton runs, in each of 6 channels."""
    rng = np.random.default_rng(20)
    H = draw(21, n=6, M=2, K=2)
    for h, rate in zip(H, wmmse(H, power, tolerance=1e-9).weighted_sum_rate, strict=True):

        def negative(v, h=h):
            return -rate_of(v, h, power, np.ones(2))

        best = -min(scipy.optimize.minimize(negative, rng.standard_normal(8)).fun for _ in range(16))
        np.testing.assert_allclose(rate, best, rtol=1e-6)


def test_wmmse_serves_weighted_users_alone():
    H = draw(22)
    found = wmmse(H, weights=(0, 3, 0))
    alone = np.log2(1 + POWER * np.linalg.norm(H[..., 1], axis=1) ** 2 / NOISE)
    np.testing.assert_allclose(found.weighted_sum_rate, 3 * alone, rtol=1e-6)


# Known answers


@pytest.mark.parametrize("precoder", [*BY_REALIZATION, ris.WMMSE()], ids=repr)
def test_one_user_gets_its_capacity(precoder):
    H = draw(23, K=1)
    capacity = np.log2(1 + POWER * np.linalg.norm(H[..., 0], axis=1) ** 2 / NOISE)
    np.testing.assert_allclose(sum_rate(H, precode(H, precoder)), capacity, rtol=1e-11)


def test_orthogonal_users():
    """Then MRT is ZF, and with water-filling the capacity, which WMMSE cannot pass."""
    H = np.linalg.qr(draw(24))[0] * np.array([2.0, 1.0, 0.1])
    gains = np.array([4.0, 1.0, 0.01])
    shares = allocate("water_filling", gains[:, None], np.zeros((3, 3, 1)), POWER, NOISE)[:, 0]
    assert np.sum(shares > 0) == 2
    capacity = np.log2(1 + gains * shares / NOISE).sum()
    for kind in KINDS:
        F = precode(H, kind(normalisation="realization", allocation="water_filling"))
        np.testing.assert_allclose(np.abs(F), np.abs(unit(H)) * np.sqrt(shares), atol=1e-10)
        np.testing.assert_allclose(sum_rate(H, F), capacity, rtol=1e-10)
    np.testing.assert_allclose(wmmse(H).weighted_sum_rate, capacity, rtol=1e-6)


def test_slopes_at_high_power():
    """Ten doublings of the power give K users of ZF ten bits each, and MRT nothing any more."""
    H = draw(25, M=4, K=4)
    low, high = 1e9, 1e9 * 2**10
    for precoder, bits in ((ris.ZF(), 40), (ris.RZF(), 40), (ris.MRT(normalisation="realization"), 0)):
        rise = sum_rate(H, precode(H, precoder, high)) - sum_rate(H, precode(H, precoder, low))
        np.testing.assert_allclose(rise, bits, atol=1e-2)


def test_low_power_makes_regularised_zero_forcing_maximum_ratio():
    H = draw(26)
    np.testing.assert_allclose(unit(precode(H, ris.RZF(), 1e-9)), unit(H), atol=1e-7)


# Invariances


@pytest.mark.parametrize("precoder", [*EVERY, ris.WMMSE()], ids=repr)
def test_scale_order_and_leading_axes(precoder):
    H = draw(27, n=12)
    F = precode(H, precoder)
    np.testing.assert_allclose(precode(1e-7 * H, precoder, noise_power=1e-14 * NOISE), F, atol=1e-9)
    order = [2, 0, 1]
    np.testing.assert_allclose(precode(H[..., order], precoder), F[..., order], atol=1e-9)
    shaped = precode(H.reshape(3, 4, 5, 3), precoder)
    np.testing.assert_array_equal(shaped.reshape(F.shape), F)
    turned = np.exp(1j * np.arange(3)) * H
    np.testing.assert_allclose(sum_rate(turned, precode(turned, precoder)), sum_rate(H, F), rtol=1e-9)


@pytest.mark.parametrize("precoder", [*BY_REALIZATION, ris.WMMSE()], ids=repr)
def test_batch_is_a_loop(precoder):
    H = draw(28, n=9)
    F = precode(H, precoder)
    one = precode(H[4], precoder)
    assert one.shape == (5, 3)
    np.testing.assert_allclose(one, F[4], rtol=1e-11)


# Bad input


def with_errors(errors, precoder=None):
    precoder = precoder or ris.MMSE()
    return ris.precode(draw(1), precoder, power=POWER, noise_power=NOISE, error_covariance=errors)


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: ris.ZF(normalisation="mean"), "normalisation"),
        (lambda: ris.MRT(allocation="fair"), "allocation"),
        (lambda: ris.RZF(-1.0), "regularisation"),
        (lambda: ris.RZF(np.nan), "regularisation"),
        (lambda: ris.WMMSE(weights=(1, -1)), "weights"),
        (lambda: ris.WMMSE(weights=(0, 0)), "weights"),
        (lambda: ris.WMMSE(weights=()), "weights"),
        (lambda: ris.WMMSE(iterations=0), "iterations"),
        (lambda: ris.WMMSE(tolerance=0.0), "tolerance"),
        (lambda: precode(draw(1), "ZF"), "precoder"),
        (lambda: precode(draw(1), ris.ZF), "precoder"),
        (lambda: precode(draw(1), ris.ZF(), power=0.0), "power"),
        (lambda: precode(draw(1), ris.ZF(), noise_power=-1.0), "noise_power"),
        (lambda: precode(np.ones(3), ris.ZF()), "channels"),
        (lambda: precode(np.ones((0, 3, 2)), ris.ZF()), "channels"),
        (lambda: precode(np.full((3, 2), np.nan), ris.ZF()), "channels"),
        (lambda: precode(draw(1, M=2, K=3), ris.ZF()), "precoder"),
        (lambda: precode(np.ones((4, 3, 2)), ris.ZF()), "precoder"),
        (lambda: precode(np.ones((4, 3, 2)), ris.ZF(normalisation="long_term")), "precoder"),
        (lambda: precode(draw(1), ris.WMMSE(weights=(1, 1))), "weights"),
        (lambda: precode(np.zeros((3, 2)), ris.WMMSE()), "precoder"),
        (lambda: with_errors(np.eye(5), ris.RZF()), "error_covariance"),
        (lambda: with_errors(np.eye(4)), "error_covariance"),
        (lambda: with_errors(-np.eye(5)), "error_covariance"),
        (lambda: ris.wmmse(draw(1), ris.ZF(), power=1.0, noise_power=1.0), "precoder"),
        (lambda: ris.sinr(draw(1), draw(1, K=2), noise_power=1.0), "precoders"),
        (lambda: ris.sinr(draw(1), draw(1), noise_power=0.0), "noise_power"),
    ],
)
def test_bad_input(make, argument):
    with pytest.raises(channels.InvalidArgumentError, match=rf"^{argument}: expected .*, got "):
        make()


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("normalisation", ["realization", "long_term"])
def test_a_user_without_a_channel(normalisation, allocation):
    """It gets nothing where that is a solution, and otherwise there is none."""
    H = draw(29)
    H[..., 1] = 0
    precoder = ris.MRT(normalisation=normalisation, allocation=allocation)
    if allocation in ("common", "water_filling"):
        F = precode(H, precoder)
        assert np.all(F[..., 1] == 0)
        assert np.all(np.isfinite(F))
    else:
        with pytest.raises(channels.InvalidArgumentError, match=r"^precoder: .* impossible in 40 real"):
            precode(H, precoder)
