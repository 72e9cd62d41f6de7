"""Closed forms of systems with lines of sight against the brute-force Wick expansion with means."""

import numpy as np
import pytest
from oracles import WickOracle
from systems import HOPS, PATH_SETS, DiscreteNoise, assert_close, random_phases, random_system, with_means

import ris

COARSE = DiscreteNoise.three_point(1.1, 0.7)
FINE = DiscreteNoise((-2.0, -0.4, 0.4, 2.0), (0.1, 0.4, 0.4, 0.1))


USED = {
    "direct": ["bs_user"],
    "single1": ["bs_ris1", "ris1_user"],
    "single2": ["bs_ris2", "ris2_user"],
    "double": ["bs_ris1", "ris1_ris2", "ris2_user"],
}


def some_hops(rng, paths):
    """Random hops on the paths, few where there are many: the oracle sums over choices of four terms."""
    hops = sorted({hop for path in paths for hop in USED[path]})
    return rng.choice(hops, size=min(len(hops), 1 if len(paths) > 2 else 2), replace=False)


def check_against_wick(system, phases, csi):
    got = ris.closed_form_moments(system, *phases, csi=csi)
    oracle = WickOracle(system, *phases)
    mean, precoder = oracle.mean_gain(csi == "nominal")
    assert_close(got.mean_gain, np.abs(mean), 1e-11)  # precoders are turned to a real mean
    assert_close(got.precoder_gain, precoder, 1e-11)
    assert_close(got.interference, oracle.interference(csi == "nominal"), 1e-11)
    if csi == "perfect":
        assert_close(got.gain_product, oracle.gain_product(), 1e-11)


@pytest.mark.parametrize("paths", PATH_SETS, ids="+".join)
@pytest.mark.parametrize("csi", ["perfect", "nominal"])
def test_moments_equal_wick_expansion(paths, csi):
    """Every set of paths, a random set of lines of sight, noise at both surfaces."""
    number = PATH_SETS.index(paths)
    rng = np.random.default_rng(number)
    system = random_system(
        rng, paths, antennas=2, elements=(2, 2), users=2, noise=(COARSE, FINE), own=number % 2
    )
    system = with_means(rng, system, some_hops(rng, paths))
    check_against_wick(system, random_phases(rng, system), csi)


@pytest.mark.parametrize("hop", HOPS)
@pytest.mark.parametrize("csi", ["perfect", "nominal"])
def test_one_line_of_sight_equals_wick_expansion(hop, csi):
    rng = np.random.default_rng(HOPS.index(hop))
    system = random_system(rng, antennas=1, elements=(2, 1), users=2, noise=(COARSE, FINE))
    check_against_wick(with_means(rng, system, [hop]), random_phases(rng, system), csi)


@pytest.mark.parametrize("paths", [("double",), ("direct", "single1", "single2")], ids="+".join)
@pytest.mark.parametrize("csi", ["perfect", "nominal"])
def test_lines_of_sight_in_all_hops_equal_wick_expansion(paths, csi):
    rng = np.random.default_rng(9)
    system = random_system(rng, paths, antennas=2, elements=(2, 2), users=1, noise=(COARSE, FINE))
    check_against_wick(with_means(rng, system, HOPS), random_phases(rng, system), csi)


@pytest.mark.parametrize("hop", ["bs_ris1", "ris1_ris2"])
def test_two_rays_equal_wick_expansion(hop):
    rng = np.random.default_rng(5)
    system = random_system(rng, ("single1", "double"), 2, (2, 2), 1, noise=(COARSE, COARSE))
    system = with_means(rng, system, [hop], rank=2)
    check_against_wick(system, random_phases(rng, system), "perfect")


@pytest.mark.parametrize("paths", PATH_SETS, ids="+".join)
@pytest.mark.parametrize("pilots", [(0, 1), (0, 0)], ids=["own pilots", "one pilot"])
def test_lmmse_moments_equal_wick_expansion(paths, pilots):
    """Estimates about the known means, filters from the oracle's own covariances of all pairs of users."""
    number = PATH_SETS.index(paths)
    rng = np.random.default_rng(100 + number)
    system = random_system(
        rng, paths, antennas=2, elements=(2, 1), users=2, noise=(COARSE, COARSE), own=number % 2
    )
    system = with_means(rng, system, some_hops(rng, paths))
    phases = random_phases(rng, system)
    csi = ris.LmmseCsi(length=2, power=0.7, noise_power=1.9, pilots=pilots)
    noise = 1.9 / (2 * 0.7)
    got = ris.closed_form_moments(system, *phases, csi=csi)
    oracle = WickOracle(system, *phases)
    means = [oracle.mean_vector(k) for k in range(2)]
    products = [[oracle.covariance(k, j) for j in range(2)] for k in range(2)]
    C = [[products[k][j] - np.outer(means[k], means[j].conj()) for j in range(2)] for k in range(2)]
    precoder, interference = np.empty(2), np.empty((2, 2))
    for j in range(2):
        group = [i for i in range(2) if pilots[i] == pilots[j]]
        towards = sum(C[j][i] for i in group)
        received = sum(C[i][other] for i in group for other in group) + noise * np.eye(2)
        L = towards @ np.linalg.inv(received)
        c = means[j] - L @ sum(means[i] for i in group)
        precoder[j] = np.linalg.norm(means[j]) ** 2 + np.trace(L @ received @ L.conj().T).real
        for k in range(2):
            power = sum(oracle.filtered(k, i, other, L) for i in group for other in group)
            power += 2 * sum(oracle.half_filtered(k, i, L, c) for i in group).real
            power += c.conj() @ products[k][k] @ c + noise * np.trace(L @ L.conj().T @ products[k][k])
            interference[k, j] = power.real
    assert_close(got.precoder_gain, precoder, 1e-11)
    assert_close(got.mean_gain, precoder, 1e-11)
    assert_close(got.interference, interference, 1e-11)
