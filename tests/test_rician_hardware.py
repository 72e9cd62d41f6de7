"""Hardware and interference at the surfaces beside lines of sight: closed forms, simulations, refusals.

Statistical checks use fixed seeds and thresholds of 6.5 standard errors, two-sided false alarm 8e-11 each.
"""

import dataclasses

import array_api_strict
import numpy as np
import pytest
from oracles import WickOracle
from systems import (
    HOPS,
    PATH_SETS,
    DiscreteNoise,
    assert_close,
    covariance,
    random_phases,
    random_system,
    with_means,
)

import channels
import ris
from channels import ElementFailures, Hardware, Interference, InvalidArgumentError, PhaseDependentAmplitude
from ris.mean_gain import mean_emi_power, mean_precoder_gain, nominal_turns
from ris.pilots import PilotEstimator

NOISE = DiscreteNoise((-2.0, -0.4, 0.4, 2.0), (0.1, 0.4, 0.4, 0.1))
AMPLITUDE = PhaseDependentAmplitude(0.3, 0.4, 2.0)
NAMES = ("mean_gain", "interference", "gain_product", "precoder_gain", "emi_power")
POWERS = {"power": 1.0, "noise_power": 0.5}
CSIS = {
    "perfect": "perfect",
    "nominal": "nominal",
    "lmmse": ris.LmmseCsi(2, 0.5, 3.0),
    "lmmse nominal": ris.LmmseCsi(2, 0.5, 3.0, covariance="nominal"),
    "ls": ris.LsCsi(2, 0.5, 3.0),
}


def uneven(elements, state=1.0):
    """Hardware of which the elements differ."""
    failures = ElementFailures(np.linspace(0.05, 0.4, elements), state)
    return Hardware(amplitude=AMPLITUDE, failures=failures)


def coupled(elements, seed=0):
    rng = np.random.default_rng(seed)
    S = rng.standard_normal((elements, elements)) + 1j * rng.standard_normal((elements, elements))
    return Hardware(amplitude=AMPLITUDE, coupling=0.5 * S / np.linalg.norm(S, 2))


LAWS = channels.VonMises(1.5), channels.WrappedNormal(0.6)


def general(hardware, noise=LAWS, hops=HOPS, batch=()):
    """Hardware, interference and these lines of sight, everything unequal."""
    rng = np.random.default_rng(12)
    system = random_system(rng, elements=(4, 3), users=2, noise=noise, hardware=hardware, batch=batch)
    system = with_means(rng, system, hops)
    emi1 = Interference(rng.uniform(0.3, 1.7, batch), covariance(rng, 4, rank=2))
    emi2 = Interference(0.4, covariance(rng, 3, batch=batch))
    system = dataclasses.replace(system, emi1=emi1, emi2=emi2)
    return system, random_phases(rng, system, batch)


UNEVEN = uneven(4), uneven(3, "random_phase")
COUPLED = coupled(4), coupled(3, 1)


def moments_of(system, phases, csi):
    found = ris.closed_form_moments(system, *phases, csi=csi)
    return {name: getattr(found, name) for name in NAMES if getattr(found, name) is not None}


@pytest.mark.parametrize("paths", PATH_SETS, ids="+".join)
@pytest.mark.parametrize("csi", ["perfect", "nominal"])
def test_moments_equal_wick_expansion(paths, csi):
    """Every set of paths; one element with amplitude and failures, one surface of stuck elements."""
    number = PATH_SETS.index(paths)
    rng = np.random.default_rng(number)
    hardware = uneven(2), Hardware(failures=ElementFailures([0.3, 0.1], [0.5, -2.0]))
    system = random_system(rng, paths, 2, (2, 2), 1 + number % 2, noise=(NOISE, NOISE), hardware=hardware)
    present = [hop for hop in HOPS if getattr(system, hop) is not None]
    system = with_means(rng, system, rng.choice(present, size=min(2, len(present)), replace=False))
    phases = random_phases(rng, system)
    got, oracle = ris.closed_form_moments(system, *phases, csi=csi), WickOracle(system, *phases)
    mean, precoder = oracle.mean_gain(csi == "nominal")
    assert_close(got.mean_gain, np.abs(mean), 1e-11)
    assert_close(got.precoder_gain, precoder, 1e-11)
    assert_close(got.interference, oracle.interference(csi == "nominal"), 1e-11)
    if csi == "perfect":
        assert_close(got.gain_product, oracle.gain_product(), 1e-11)
    if csi == "nominal":
        size = np.abs(mean)
        np.testing.assert_allclose(nominal_turns(system, *phases), mean.conj() / size, rtol=1e-11)


@pytest.mark.parametrize("hops", [["ris1_user"], ["ris1_ris2", "ris2_user"], HOPS], ids="+".join)
def test_interference_equals_wick_expansion(hops):
    """tr(R E v v^H), v what a surface reflects: the channel to a BS in the place of the surface."""
    rng = np.random.default_rng(3)
    hardware = uneven(2), uneven(2, -1.0)
    system = random_system(rng, PATH_SETS[-1], 2, (2, 2), 2, noise=(NOISE, NOISE), hardware=hardware)
    system = with_means(rng, system, hops)
    R1, R2 = covariance(rng, 2), covariance(rng, 2)
    disturbed = dataclasses.replace(system, emi1=Interference(0.7, R1), emi2=Interference(1.3, R2))
    phases = random_phases(rng, system)

    def observed(name):
        there = channels.Hop(0.0, np.eye(2), np.eye(2), channels.LineOfSight.of(np.eye(2)))
        off = dict.fromkeys(("bs_ris1", "bs_ris2", "bs_user"))
        oracle = WickOracle(dataclasses.replace(system, **{**off, name: there}), *phases)
        return [oracle.covariance(k) for k in range(2)]

    both = zip(observed("bs_ris1"), observed("bs_ris2"), strict=True)
    expected = [np.trace(0.7 * R1 @ first + 1.3 * R2 @ second).real for first, second in both]
    for csi in CSIS.values():
        assert_close(ris.closed_form_moments(disturbed, *phases, csi=csi).emi_power, expected, 1e-11)
    assert_close(mean_emi_power(disturbed, *phases), expected, 1e-11)


@pytest.mark.parametrize("csi", CSIS.values(), ids=CSIS)
def test_without_lines_of_sight_both_calculi_agree(csi):
    system, phases = general(UNEVEN, hops=())
    means = np.zeros((2, 3))
    zero = dataclasses.replace(
        system, bs_user=channels.UserHop(system.bs_user.gain, system.bs_user.correlation, means)
    )
    expected = moments_of(system, phases, csi)
    found = moments_of(zero, phases, csi)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-11)


@pytest.mark.parametrize("csi", ["perfect", CSIS["lmmse"], CSIS["ls"]], ids=["perfect", "lmmse", "ls"])
def test_coupled_surfaces_are_absorbed_matrices(csi):
    """A certain surface turns hops into hops: T^H R T and T^H of the rays."""
    system, phases = general(COUPLED, noise=(None, None))

    def absorbed(hop, surface):
        S = COUPLED[surface].coupling
        c = AMPLITUDE.amplitude(phases[surface]) * np.exp(1j * phases[surface])
        T = np.linalg.inv(np.diag(1 / c) - S)
        if isinstance(hop, Interference):
            return Interference(hop.power, T.conj().T @ np.asarray(hop.correlation) @ T)
        right = T.conj().T @ np.asarray(hop.right) @ T
        return channels.Hop(
            hop.gain, hop.left, right, channels.LineOfSight(hop.mean.left, T.conj().T @ hop.mean.right)
        )

    surfaces = {"bs_ris1": 0, "bs_ris2": 1, "ris1_ris2": 1, "emi1": 0, "emi2": 1}
    turned = {name: absorbed(getattr(system, name), i) for name, i in surfaces.items()}
    plain = dataclasses.replace(system, **turned, hardware1=Hardware(), hardware2=Hardware())
    zeros = np.zeros(4), np.zeros(3)
    expected = moments_of(plain, zeros, csi)
    for name, value in moments_of(system, phases, csi).items():
        assert_close(value, expected[name], 1e-11)
    assert_close(
        mean_precoder_gain(system, *phases, "perfect"),
        moments_of(plain, zeros, "perfect")["mean_gain"],
        1e-11,
    )
    assert_close(mean_emi_power(system, *phases), expected["emi_power"], 1e-11)


@pytest.mark.parametrize("csi", CSIS.values(), ids=CSIS)
def test_batches_and_array_libraries(csi, monkeypatch):
    system, phases = general(UNEVEN, hops=("bs_ris1", "ris2_user"), batch=(3,))
    whole = moments_of(system, phases, csi)
    for i, one in enumerate(ris.system.each_system(system)):
        mine = [theta[i] for theta in phases]
        strict = ris.closed_form_moments(one, *map(array_api_strict.asarray, mine), csi=csi)
        for name, value in moments_of(one, mine, csi).items():
            assert_close(whole[name][i], value, 1e-12)
            assert_close(getattr(strict, name), value, 1e-12)
    monkeypatch.setattr("ris.moments.PART_BYTES", 1)
    for name, value in moments_of(system, phases, csi).items():
        assert_close(value, whole[name], 1e-12)


def test_interference_has_the_batch_axes_of_what_it_does_not_meet():
    """Parts of a batch are cut from it, though powers and covariances there are alike in all systems."""
    system, (theta1, theta2) = general(UNEVEN, hops=("ris1_user",))
    gains = np.array([[1.0, 2.0]] * 3) * np.arange(1, 4)[:, None]
    batch = dataclasses.replace(system, bs_user=channels.UserHop(gains, system.bs_user.correlation))
    expected = ris.closed_form_moments(system, theta1, theta2).emi_power
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ris.moments.PART_BYTES", 1)
        for shifts in (theta1, np.tile(theta1, (3, 1))):
            found = ris.closed_form_moments(batch, shifts, theta2).emi_power
            np.testing.assert_allclose(found, [expected] * 3, rtol=1e-12)


def test_second_moments_of_large_surfaces_equal_the_closed_form():
    system, phases = general(UNEVEN)
    for csi in ("perfect", "nominal"):
        exact = ris.closed_form_moments(system, *phases, csi=csi)
        np.testing.assert_allclose(mean_precoder_gain(system, *phases, csi), exact.precoder_gain, rtol=1e-12)
        np.testing.assert_allclose(mean_emi_power(system, *phases), exact.emi_power, rtol=1e-12)
    for name in ("lmmse", "lmmse nominal"):
        exact = ris.closed_form_moments(system, *phases, csi=CSIS[name]).precoder_gain
        estimator = PilotEstimator(system, *phases, CSIS[name], channels.Stream(1))
        np.testing.assert_allclose(estimator.precoder_gain, exact, rtol=1e-12)


@pytest.mark.parametrize("engine", ["explicit", "reduced"])
@pytest.mark.parametrize("csi", ["perfect", "nominal", CSIS["lmmse"]], ids=["perfect", "nominal", "lmmse"])
def test_engines_agree_with_the_closed_form(csi, engine):
    system, phases = general(UNEVEN)
    found = ris.simulate(system, *phases, **POWERS, realizations=60_000, seed=8, csi=csi, engine=engine)

    def distance(exact, name):
        estimate = getattr(found, name)
        return np.max(np.abs(estimate.value - getattr(exact, name)) / estimate.standard_error)

    exact = ris.closed_form_moments(system, *phases, csi)
    rate = ris.rate_from_moments(exact, **POWERS)
    for name in ("mean_gain", "precoder_gain", "interference", "emi_power"):
        assert distance(exact, name) < 6.5
    assert np.max(np.abs(found.hardening_rate.value - rate) / found.hardening_rate.standard_error) < 6.5
    # What the closed forms without hardware, or without lines of sight to the users, say is found wrong.
    ideal = dataclasses.replace(system, hardware1=Hardware(), hardware2=Hardware())
    users = channels.UserHop(system.ris2_user.gain, system.ris2_user.correlation)
    for wrong in (ideal, dataclasses.replace(system, ris2_user=users)):
        other = ris.closed_form_moments(wrong, *phases, csi)
        assert distance(other, "mean_gain") > 6.5
        assert distance(other, "emi_power") > 6.5


def test_coupled_elements_at_random_are_refused():
    system, phases = general(COUPLED)
    for function in (
        lambda: ris.closed_form_moments(system, *phases),
        lambda: ris.simulate(system, *phases, **POWERS, realizations=10, seed=1),
    ):
        with pytest.raises(InvalidArgumentError, match=r"^hardware1: expected no mutual coupling beside"):
            function()
    certain = dataclasses.replace(system, phase_noise1=channels.NoNoise(), phase_noise2=channels.NoNoise())
    for csi in ("nominal", CSIS["lmmse nominal"]):
        with pytest.raises(InvalidArgumentError, match=r"^csi: expected no nominal CSI beside mutual"):
            ris.closed_form_moments(certain, *phases, csi=csi)


@pytest.mark.parametrize(
    ("options", "hardware", "argument"),
    [
        ({"precoder": ris.ZF(normalisation="long_term")}, UNEVEN, "precoder"),
        ({"precoder": ris.ZF()}, COUPLED, "hardware1"),
        ({}, COUPLED, "hardware1"),
    ],
)
def test_simulations_are_refused_before_the_first_draw(options, hardware, argument, monkeypatch):
    system, phases = general(hardware)

    def drawn(*_):
        raise AssertionError

    monkeypatch.setattr("ris.sampler.ChannelSampler.draw", drawn)
    with pytest.raises(InvalidArgumentError) as caught:
        ris.simulate(system, *phases, **POWERS, realizations=10, seed=1, **options)
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("change", "argument", "mend"),
    [
        (
            {"hardware1": Hardware(failures=ElementFailures(0.2))},
            "hardware1",
            "design with channels.Hardware",
        ),
        ({"emi2": Interference(1.0, np.eye(3))}, "emi2", "design without, then evaluate"),
        ({}, "system", "`optimal_phases` maximises the mean gain"),
    ],
)
@pytest.mark.parametrize("objective", ["sum_rate", "mean_gain"])
def test_designs_are_refused_before_they_run(change, argument, mend, objective, monkeypatch):
    system, _ = general((None, None), hops=() if change else HOPS)
    system = dataclasses.replace(system, **{"emi1": None, "emi2": None, **change})

    def prepared(*_):
        raise AssertionError

    monkeypatch.setattr("ris.gradient.Link", prepared)
    with pytest.raises(InvalidArgumentError, match=mend) as caught:
        ris.design_phases(system, **POWERS, objective=objective)
    assert caught.value.argument == argument


def test_optimal_phases_with_elements_that_fail_and_lines_of_sight():
    """The design is a local maximum, where its gain is what the closed form says."""
    failing = Hardware(failures=ElementFailures(0.3)), Hardware(failures=ElementFailures(0.2, "random_phase"))
    system, _ = general(failing)
    theta1, theta2 = ris.optimal_phases(system)
    best = ris.closed_form_moments(system, theta1, theta2).mean_gain.sum()
    rng = np.random.default_rng(1)
    for spread in (1e-3, 0.1, 3.0):
        for _ in range(10):
            moved = theta1 + spread * rng.standard_normal(4), theta2 + spread * rng.standard_normal(3)
            assert mean_precoder_gain(system, *moved, "perfect").sum() <= (1 + 1e-9) * best
