"""Interference that the surfaces reflect: by hand from drawn hops, in both engines, in the rates.

Statistical checks use fixed seeds and thresholds of 6.5 standard errors, two-sided false alarm 8e-11 each.
"""

import dataclasses

import numpy as np
import pytest
from systems import PATH_SETS, covariance, random_phases, random_system

import channels
import ris
from channels import ElementFailures, Hardware, Interference, InvalidArgumentError
from ris.mean_gain import mean_emi_power

POWERS = {"power": 1.0, "noise_power": 0.5}


def disturbed(paths, batch=()):
    rng = np.random.default_rng(len("".join(paths)))
    noise = channels.VonMises(2.0), channels.UniformNoise(1.0)
    hardware = Hardware(failures=ElementFailures([0.1, 0.2, 0.3, 0.0], 1.0)), None
    system = random_system(rng, paths, elements=(4, 3), users=2, noise=noise, hardware=hardware, batch=batch)
    reached1, reached2 = system.single1 or system.double, system.single2 or system.double
    system = dataclasses.replace(
        system,
        emi1=Interference(0.7, covariance(rng, 4, rank=2)) if reached1 else None,
        emi2=Interference(1.3, covariance(rng, 3)) if reached2 else None,
    )
    return system, random_phases(rng, system, batch)


def instantaneous(system, phases, n, seed):
    """v^H R v of what each surface reflects of each user, from drawn hops, shape (n, K)."""
    hops = ris.draw_hops(system, realizations=n, seed=seed)
    T1 = system.hardware1.coefficients(phases[0] + hops.phase_noise1, hops.failed1)[..., None]
    T2 = system.hardware2.coefficients(phases[1] + hops.phase_noise2, hops.failed2)[..., None]
    total = np.zeros((n, system.users))
    v2 = None if hops.ris2_user is None else T2 * hops.ris2_user
    if system.emi2:
        R = np.asarray(system.emi2.correlation)
        total += 1.3 * np.einsum("nik,ij,njk->nk", v2.conj(), R, v2).real
    if system.emi1:
        arriving = 0 if hops.ris1_user is None else hops.ris1_user
        v1 = T1 * (arriving + (hops.ris1_ris2 @ v2 if hops.ris1_ris2 is not None else 0))
        total += 0.7 * np.einsum("nik,ij,njk->nk", v1.conj(), np.asarray(system.emi1.correlation), v1).real
    return total


REFLECTED = [paths for paths in PATH_SETS if paths != ("direct",)]


@pytest.mark.parametrize("paths", REFLECTED, ids="+".join)
def test_explicit_engine_measures_the_power_of_the_drawn_hops(paths):
    system, phases = disturbed(paths)
    n, rates = 200, []

    def keep(instantaneous_rates):
        rates.append(instantaneous_rates)
        return instantaneous_rates

    options = {"realizations": n, "seed": 5, "engine": "explicit"}
    found = ris.simulate(system, *phases, **POWERS, **options, threads=1, observe=keep)
    by_hand = instantaneous(system, phases, n, 5)
    np.testing.assert_allclose(found.emi_power.value, by_hand.mean(axis=0), rtol=1e-11)
    H = ris.draw_channels(system, *phases, **options)
    power = np.abs(np.einsum("nmk,nmj->nkj", H.conj(), H)) ** 2
    signal = np.einsum("nkk->nk", power)
    noise = (0.5 + by_hand) * ris.closed_form_moments(system, *phases).precoder_gain.sum()
    expected = np.log2(1 + signal / (power.sum(axis=2) - signal + noise))
    np.testing.assert_allclose(np.concatenate(rates), expected, rtol=1e-11)


@pytest.mark.parametrize("paths", REFLECTED, ids="+".join)
@pytest.mark.parametrize("csi", ["perfect", "nominal"])
def test_reduced_engine_and_closed_form_agree(paths, csi):
    system, phases = disturbed(paths)
    moments = ris.closed_form_moments(system, *phases, csi=csi)
    np.testing.assert_allclose(mean_emi_power(system, *phases), moments.emi_power, rtol=1e-13)
    found = ris.simulate(system, *phases, **POWERS, realizations=40_000, seed=6, csi=csi)
    error = found.emi_power.standard_error
    assert np.max(np.abs(found.emi_power.value - moments.emi_power) / error) < 6.5
    assert np.max(np.abs(found.emi_power.value - 1.1 * moments.emi_power) / error) > 6.5
    rate = ris.rate_from_moments(moments, **POWERS)
    assert np.max(np.abs(found.hardening_rate.value - rate) / found.hardening_rate.standard_error) < 6.5


def test_engines_have_one_ergodic_rate():
    """The power of the interference depends on the channel: it is drawn jointly in the reduced engine too."""
    system, phases = disturbed(("double",))
    one, other = (
        ris.simulate(system, *phases, **POWERS, realizations=100_000, seed=7, engine=engine).ergodic_rate
        for engine in ("reduced", "explicit")
    )
    error = np.hypot(one.standard_error, other.standard_error)
    assert np.max(np.abs(one.value - other.value) / error) < 6.5
    # Were it its mean, the rate would be another one.
    quiet = dataclasses.replace(system, emi1=None, emi2=None)
    power = mean_emi_power(system, *phases)
    constant = [
        ris.simulate(
            quiet, *phases, power=1.0, noise_power=0.5 + power[k], realizations=100_000, seed=7
        ).ergodic_rate.value[k]
        for k in range(2)
    ]
    assert np.max(np.abs(one.value - constant) / error) > 6.5


def test_white_interference_on_one_white_surface_by_hand():
    """R = I everywhere: power g N, whatever the phases; and the SINR of a single user follows."""
    N, M = 5, 3
    system = ris.DoubleRIS(
        bs_ris1=channels.Hop(1.0, np.eye(M), np.eye(N)),
        ris1_user=channels.UserHop([0.6], np.eye(N)),
        emi1=Interference(0.2, np.eye(N)),
    )
    moments = ris.closed_form_moments(system, np.arange(5.0))
    np.testing.assert_allclose(moments.emi_power, [0.2 * 0.6 * N], rtol=1e-14)
    gain = 0.6 * M * N
    fourth = gain**2 * (1 + 1 / M) * (1 + 1 / N)
    noise = (0.5 + 0.2 * 0.6 * N) * gain
    rate = ris.closed_form_rate(system, np.arange(5.0), **POWERS)
    np.testing.assert_allclose(rate, np.log2(1 + gain**2 / (fourth - gain**2 + noise)), rtol=1e-13)


def test_batch_equals_loop(monkeypatch):
    system, phases = disturbed(("single1", "double"), batch=(2,))
    system = dataclasses.replace(system, emi1=Interference([0.7, 0.9], system.emi1.correlation))
    batch = ris.closed_form_moments(system, *phases).emi_power
    monkeypatch.setattr("ris.moments.PART_BYTES", 1)
    np.testing.assert_allclose(ris.closed_form_moments(system, *phases).emi_power, batch, rtol=1e-13)

    def at(hop, i):
        if isinstance(hop, channels.Hop):
            return channels.Hop(hop.gain[i], hop.left.matrix[i], hop.right.matrix[i])
        return channels.UserHop(hop.gain[i], hop.correlation.matrix[i])

    for i in range(2):
        names = ("bs_ris1", "ris1_ris2", "ris1_user", "ris2_user")
        one = dataclasses.replace(
            system,
            **{name: at(getattr(system, name), i) for name in names},
            emi1=Interference(system.emi1.power[i], system.emi1.correlation),
        )
        got = ris.closed_form_moments(one, *(theta[i] for theta in phases)).emi_power
        np.testing.assert_allclose(got, batch[i], rtol=1e-12)


def test_results_do_not_depend_on_threads_and_merge():
    system, phases = disturbed(("single1", "single2", "double"))
    options = {**POWERS, "seed": 3}
    whole = ris.simulate(system, *phases, **options, realizations=1500, threads=1)
    again = ris.simulate(system, *phases, **options, realizations=1500, threads=2)
    np.testing.assert_array_equal(whole.emi_power.value, again.emi_power.value)
    np.testing.assert_array_equal(whole.ergodic_rate.value, again.ergodic_rate.value)
    first = ris.simulate(system, *phases, **options, realizations=700)
    second = ris.simulate(system, *phases, **options, realizations=800, first=700)
    merged = first.merge(second)
    np.testing.assert_allclose(merged.emi_power.value, whole.emi_power.value, rtol=1e-12)
    np.testing.assert_allclose(merged.hardening_rate.value, whole.hardening_rate.value, rtol=1e-12)


def simulated(of, **options):
    system, phases = of
    return ris.simulate(system, *phases, **POWERS, realizations=10, seed=1, **options)


def test_precoders_of_each_realization_meet_interference():
    """Zero forcing: no interference of users, so that the rates follow from the powers by hand."""
    system, phases = disturbed(("direct", "single1", "double"))
    rates = []

    def keep(instantaneous_rates):
        rates.append(instantaneous_rates)
        return instantaneous_rates

    options = {"realizations": 50, "seed": 5, "engine": "explicit"}
    ris.simulate(system, *phases, **POWERS, **options, precoder=ris.ZF(), threads=1, observe=keep)
    H = ris.draw_channels(system, *phases, **options)
    gains = 1 / np.einsum("nkk->nk", np.linalg.inv(np.einsum("nmk,nmj->nkj", H.conj(), H))).real
    noise = 0.5 + instantaneous(system, phases, 50, 5)
    sinr = 2 ** np.concatenate(rates) - 1
    powers = sinr * noise / gains  # what the precoder gave each user: one in all, whatever the interference
    np.testing.assert_allclose(powers.sum(axis=1), 1.0, rtol=1e-9)


EMI = Interference(1.0, np.eye(4))
DIRECT = channels.UserHop([1.0], np.eye(2))


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: Interference(-1.0, np.eye(2)), "power"),
        (lambda: Interference(np.nan, np.eye(2)), "power"),
        (lambda: Interference(1.0, np.ones((2, 3))), "correlation"),
        (lambda: Interference(1.0, -np.eye(2)), "correlation"),
        (lambda: ris.DoubleRIS(bs_user=DIRECT, emi1=EMI), "emi1"),
        (lambda: ris.DoubleRIS(bs_user=DIRECT, emi2=EMI), "emi2"),
        (lambda: dataclasses.replace(disturbed(("single1",))[0], emi1=1.0), "emi1"),
        (lambda: dataclasses.replace(disturbed(("single2",))[0], emi2=EMI), "DoubleRIS"),
        (
            lambda: simulated(disturbed(("double",)), precoder=ris.ZF(normalisation="long_term")),
            "precoder",
        ),
        (lambda: ris.design_phases(disturbed(("double",))[0], **POWERS, seed=1), "hardware1"),
        (
            lambda: ris.design_phases(
                dataclasses.replace(disturbed(("double",))[0], hardware1=Hardware()), **POWERS, seed=1
            ),
            "emi1",
        ),
        (
            lambda: ris.simulate_instantaneous(
                disturbed(("double",))[0], lambda hops: None, **POWERS, realizations=2, seed=1
            ),
            "system",
        ),
    ],
)
def test_bad_input_is_refused(make, argument):
    with pytest.raises(InvalidArgumentError) as caught:
        make()
    assert caught.value.argument == argument
