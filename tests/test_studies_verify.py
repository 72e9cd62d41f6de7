"""`ris verify`: what it draws, what it finds, and what it does not."""

import dataclasses
import io
import math

import numpy as np
import pytest
from scipy.special import ndtr

import channels
import ris
from channels.errors import InvalidArgumentError
from ris.element_moments import ElementMoments
from studies import verify
from studies.report import verification_table
from studies.verify import (
    FALSE_ALARM,
    Comparison,
    Verification,
    _comparisons,
    _gamma,
    _skewness_of_square,
    _threshold,
    modelled_skewness,
    random_system,
)


def test_it_passes_and_does_not_depend_on_threads():
    found = verify.verify(systems=6, seed=3, realizations=2000, threads=1)
    assert found.passed
    again = verify.verify(systems=6, seed=3, realizations=2000, threads=2)
    assert again.comparisons == found.comparisons
    assert again.realizations == found.realizations
    other = verify.verify(systems=6, seed=4, realizations=2000, threads=1)
    assert other.comparisons != found.comparisons


@pytest.mark.parametrize("entry", ["emi_power", "mean_gain", "interference", "gain_product"])
def test_it_finds_a_wrong_closed_form(monkeypatch, entry):
    right = ris.closed_form_moments
    factor = 0.8 if entry == "mean_gain" else 1.25  # neither makes a variance negative

    def wrong(*arguments):
        moments = right(*arguments)
        value = getattr(moments, entry)
        return moments if value is None else dataclasses.replace(moments, **{entry: factor * value})

    monkeypatch.setattr(verify.ris, "closed_form_moments", wrong)
    found = verify.verify(systems=6, seed=3, realizations=20_000)
    failed = {comparison.quantity for comparison in found.comparisons if not comparison.passed}
    assert not found.passed
    assert entry.replace("_", " ").replace("emi", "EMI") in failed


def test_it_finds_closed_forms_that_ignore_hardware(monkeypatch):
    right = ElementMoments.of
    monkeypatch.setattr(
        ElementMoments, "of", lambda noise, hardware, theta: right(noise, channels.Hardware(), theta)
    )
    found = verify.verify(systems=6, seed=3, realizations=20_000)
    failed = {comparison.system for comparison in found.comparisons if not comparison.passed}
    assert failed
    assert all(has_hardware(random_system(3, int(name.split(":")[0])).system) for name in failed)


def has_hardware(system):
    return any(h.amplitude or h.failures for h in (system.hardware1, system.hardware2))


def test_a_value_that_is_no_number_fails():
    assert not Comparison("", "mean gain", math.nan, 7.0, 0.1).passed
    assert not Verification([Comparison("", "mean gain", math.nan, 7.0, 0.1)], 1).passed
    assert not Comparison("", "mean gain", math.inf, 7.0, 0.1).passed
    assert not Comparison("", "mean gain", -7.1, 7.0, 0.1).passed


def test_systems_cover_what_they_should():
    chosen = [random_system(1, number) for number in range(300)]
    systems = [one.system for one in chosen]
    paths = {(s.direct, s.single1, s.single2, s.double) for s in systems}
    assert len(paths) == 15
    assert {s.antennas for s in systems} == set(range(1, 7))
    assert {s.users for s in systems} == set(range(1, 5))
    assert {s.elements1 for s in systems} >= set(range(1, 11))
    assert {s.elements2 for s in systems} >= set(range(1, 11))
    kinds = {one.csi if isinstance(one.csi, str) else "lmmse" for one in chosen}
    assert kinds == {"perfect", "nominal", "lmmse"}
    assert {one.engine for one in chosen} == {"reduced", "explicit"}
    laws = {type(law).__name__ for s in systems for law in (s.phase_noise1, s.phase_noise2)}
    assert laws >= {"NoNoise", "VonMises", "UniformNoise", "WrappedNormal", "QuantizationNoise", "SumNoise"}
    assert len({(s.emi1 is None, s.emi2 is None) for s in systems}) == 4
    hardware = [h for s in systems for h in (s.hardware1, s.hardware2)]
    assert {(h.amplitude is None, h.failures is None) for h in hardware} == {
        (a, b) for a in (True, False) for b in (True, False)
    }
    states = [h.failures.state for h in hardware if h.failures is not None]
    assert {state if isinstance(state, str) else "stuck" for state in states} == {
        "absorbing",
        "random_phase",
        "stuck",
    }
    hops = [hop for s in systems for hop in (s.bs_ris1, s.bs_ris2, s.ris1_ris2) if hop is not None]
    assert any(hop.right.effective_rank() < hop.right.size for hop in hops)
    assert any(np.abs(np.imag(hop.left.matrix)).max() > 0.1 for hop in hops)
    own = [s.ris2_user.correlation.matrix.ndim for s in systems if s.ris2_user is not None]
    assert set(own) == {2, 3}
    assert 60 < sum(s.line_of_sight for s in systems) < 150
    sights = [hop.mean for hop in hops if hop.mean is not None]
    assert len(sights) > 60
    both = [s for s in systems if s.line_of_sight and has_hardware(s)]
    assert len(both) > 50
    assert len([s for s in both if s.emi1 or s.emi2]) > 20
    assert max(map(modelled_skewness, chosen)) <= verify.MOST_SKEWED


def test_systems_repeat():
    one, two = random_system(5, 17), random_system(5, 17)
    assert one.name == two.name
    assert one.noise_power == two.noise_power
    np.testing.assert_array_equal(one.theta2, two.theta2)


def test_number_of_comparisons():
    for number in range(20):
        one = random_system(2, number)
        found = verify.verify(systems=1, seed=2, realizations=1000).comparisons if number == 0 else None
        K = one.system.users
        expected = K + K * (K + 1) // 2 + K * (K - 1) // 2 + K if one.csi == "perfect" else 3 * K + K**2
        expected += K if one.system.emi1 or one.system.emi2 else 0
        assert _comparisons(one) == expected
        assert found is None or len(found) == expected


def test_threshold_solves_its_equation():
    rate = FALSE_ALARM / 5000
    assert 2 * ndtr(-_threshold(rate, 0.0)) == pytest.approx(rate, rel=1e-9)
    x = _threshold(rate, 0.08)
    assert 2 * ndtr(-x) * math.exp(0.08 * x**3 / 3) == pytest.approx(rate, rel=1e-9)
    assert x > _threshold(rate, 0.04) > _threshold(rate, 0.0)


def test_skewness_of_the_model():
    # The square of an exponential variable: moments n! give skewness (720 - 3 2 24 + 2 8) / 20^1.5.
    assert _skewness_of_square(_gamma(1.0)) == pytest.approx((720 - 144 + 16) / 20**1.5)


def test_model_of_the_skewness_follows_the_truth():
    # Uncorrelated single and double reflection; sampled skewness has a wide law, so factors of two.
    eye = np.eye
    one = channels.Hop(1, eye(4), eye(6))
    system = ris.DoubleRIS(
        bs_ris1=one, ris1_ris2=channels.Hop(1, eye(6), eye(8)), ris2_user=channels.UserHop([1.0], eye(8))
    )
    chosen = verify.RandomSystem(system, np.zeros(6), np.zeros(8), 1.0, 1.0, "perfect", "explicit", "iid")
    H = ris.draw_channels(system, np.zeros(6), np.zeros(8), realizations=400_000, seed=1)
    square = np.sum(np.abs(H[:, :, 0]) ** 2, axis=1) ** 2
    sampled = np.mean((square - square.mean()) ** 3) / square.std() ** 3
    assert 0.5 < sampled / modelled_skewness(chosen) < 2


@pytest.mark.parametrize("arguments", [{"systems": 0}, {"realizations": 999}, {"seed": -1}])
def test_bad_input(arguments):
    with pytest.raises((InvalidArgumentError, ValueError)):
        verify.verify(**{"systems": 1, "realizations": 1000, **arguments})


def test_table_tells_a_failure():
    from rich.console import Console

    console = Console(record=True, width=120, file=io.StringIO())
    console.print(verification_table(Verification([Comparison("5: odd", "mean gain", -9.0, 7.0, 0.1)], 10)))
    text = console.export_text()
    assert "FAILED: z = -9.00, threshold 7.00, mean gain of system 5: odd" in text
    assert "DISAGREE" in text
