"""The closed-form moments against brute-force Wick expansion, enumeration and known answers."""

import array_api_strict
import numpy as np
import pytest
from oracles import WickOracle
from systems import PATH_SETS, DiscreteNoise, covariance, random_phases, random_system

import channels
import ris
from ris.noise_moments import (
    Reflection,
    amplitude_product,
    fourth_moments,
    inner_chain,
    outer_chain,
)

COARSE = DiscreteNoise.three_point(1.1, 0.7)
FINE = DiscreteNoise((-2.0, -0.4, 0.4, 2.0), (0.1, 0.4, 0.4, 0.1))


def enumerate_noise(law, elements):
    grids = np.meshgrid(*[np.array(law.values)] * elements, indexing="ij")
    weights = np.meshgrid(*[np.array(law.weights)] * elements, indexing="ij")
    phases = np.stack([g.ravel() for g in grids], axis=-1)
    return np.exp(1j * phases), np.prod([w.ravel() for w in weights], axis=0)


@pytest.mark.parametrize("law", [COARSE, FINE, DiscreteNoise((np.pi, 0.0, -np.pi), (0.25, 0.5, 0.25))])
@pytest.mark.parametrize("hermitian", [True, False])
def test_noise_moments_equal_enumeration(law, hermitian):
    """All traces over one surface, general complex matrices, 1e-12 of the sum of magnitudes."""
    rng = np.random.default_rng(11)
    N, J = 5, 2
    if hermitian:
        A, C, B = covariance(rng, N), covariance(rng, N), covariance(rng, N, batch=(J,))
    else:
        A, C, *B = rng.standard_normal((2 + J, N, N)) + 1j * rng.standard_normal((2 + J, N, N))
        B = np.stack(B)
    e, weight = enumerate_noise(law, N)
    r, r2 = law.moment(1), law.moment(2)
    left = e.conj()[:, :, None] * A * e[:, None, :]  # E^H A E
    right = e.conj()[:, :, None] * C * e[:, None, :]
    trace = np.einsum("zab,kba->zk", left, B)
    other = np.einsum("zab,kba->zk", right, B)
    one_sided = np.einsum("ab,zb,kba->zk", A, e, B)
    other_sided = np.einsum("ab,zb,kba->zk", C, e, B)
    noisy_A, noisy_C = Reflection.of(A, B, r, r2), Reflection.of(C, B, r, r2)
    plain_A, plain_C = Reflection.of(A, B, 1.0, 1.0), Reflection.of(C, B, 1.0, 1.0)
    expected = {
        "mean": np.einsum("z,zk->k", weight, trace),
        "product": np.einsum("z,zk,zj->kj", weight, trace, other),
        "chained": np.einsum("z,zab,kbc,zcd,jda->kj", weight, left, B, right, B, optimize=True),
        "amplitude": np.einsum("z,zk,zj->kj", weight, one_sided, other_sided.conj()),
    }
    # E tr(A E B E^H C D) has its noise around B alone: conjugate B instead of A.
    turned = e[:, None, :, None] * B * e.conj()[:, None, None, :]
    expected["inner"] = np.einsum("z,ab,zkbc,cd,jda->kj", weight, A, turned, C, B, optimize=True)
    expected["outer"] = np.einsum("z,zab,kbc,cd,jda->kj", weight, left, B, C, B, optimize=True)
    product, chained = fourth_moments(noisy_A, noisy_C)
    got = {
        "mean": noisy_A.mean,
        "product": product,
        "chained": chained,
        "inner": inner_chain(plain_A, plain_C, r),
        "outer": outer_chain(noisy_A, plain_C),
        "amplitude": amplitude_product(plain_A, plain_C, r),
    }
    for name, value in got.items():
        scale = np.max(np.abs(expected[name]))
        assert np.max(np.abs(value - expected[name])) <= 1e-12 * scale, name


@pytest.mark.parametrize("paths", PATH_SETS, ids="+".join)
@pytest.mark.parametrize("csi", ["perfect", "nominal"])
def test_moments_equal_wick_expansion(paths, csi):
    rng = np.random.default_rng(len(paths) * 100 + len("".join(paths)))
    system = random_system(rng, paths, antennas=2, elements=(2, 2), noise=(COARSE, FINE))
    theta1, theta2 = random_phases(rng, system)
    check_against_wick(system, theta1, theta2, csi)


@pytest.mark.parametrize("csi", ["perfect", "nominal"])
@pytest.mark.parametrize(
    ("shape", "own", "rank"),
    [((1, (1, 1), 1), True, None), ((3, (3, 1), 2), False, None), ((2, (1, 3), 3), True, 1)],
)
def test_moments_of_odd_shapes_equal_wick_expansion(shape, own, rank, csi):
    rng = np.random.default_rng(5)
    antennas, elements, users = shape
    system = random_system(
        rng, antennas=antennas, elements=elements, users=users, own=own, rank=rank, noise=(FINE, COARSE)
    )
    check_against_wick(system, *random_phases(rng, system), csi)


def check_against_wick(system, theta1, theta2, csi):
    got = ris.closed_form_moments(system, theta1, theta2, csi=csi)
    oracle = WickOracle(system, theta1, theta2)
    mean, precoder = oracle.mean_gain(csi == "nominal")
    np.testing.assert_allclose(got.mean_gain, mean, rtol=1e-12)
    np.testing.assert_allclose(got.precoder_gain, precoder, rtol=1e-12)
    np.testing.assert_allclose(got.interference, oracle.interference(csi == "nominal"), rtol=1e-12)
    if csi == "perfect":
        np.testing.assert_allclose(got.gain_product, oracle.gain_product(), rtol=1e-12)
