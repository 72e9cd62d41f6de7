"""Path-loss laws against hand-computed values, element gains, thermal noise."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from channels import (
    FreeSpace,
    IndoorOffice,
    InvalidArgumentError,
    LogDistance,
    SurfaceElement,
    UrbanMacro,
    UrbanMicro,
    noise_power_dbm,
)

LAWS = [
    FreeSpace(3.5e9),
    LogDistance(3.1, 40.0),
    UrbanMicro(0.7e9),
    UrbanMicro(28e9),
    UrbanMacro(2e9),
    IndoorOffice(5e9),
    IndoorOffice(60e9, "open"),
]


def slant(horizontal, base, terminal):
    return np.hypot(horizontal, np.subtract(base, terminal))


def test_free_space_known_answers():
    assert_allclose(FreeSpace(1e9).loss_db(1.0), 32.44778322, atol=1e-8)
    assert_allclose(FreeSpace(1e9).loss_db([10.0, 1000.0]), [52.44778322, 92.44778322], atol=1e-8)
    assert_allclose(FreeSpace(2e9).loss_db(1.0) - FreeSpace(1e9).loss_db(1.0), 20 * np.log10(2), atol=1e-12)


def test_log_distance_with_exponent_two_is_free_space():
    free = FreeSpace(3e9)
    law = LogDistance(2.0, float(free.loss_db(5.0)), reference_m=5.0)
    distance = np.array([5.0, 17.0, 400.0])
    assert_allclose(law.loss_db(distance), free.loss_db(distance), rtol=1e-14)


@pytest.mark.parametrize(
    ("law", "horizontal", "heights", "los", "loss"),
    [
        # 32.4 + 21 log10(100.3606) + 20 log10(3.5); breakpoint 210 m
        (UrbanMicro(3.5e9), 100, (10, 1.5), True, 85.31418910),
        # 32.4 + 40 log10(500.0722) + 20 log10(0.7) - 9.5 log10(42^2 + 8.5^2)
        (UrbanMicro(0.7e9), 500, (10, 1.5), True, 106.25591865),
        # 35.3 log10(100.3606) + 22.4 + 21.3 log10(3.5)
        (UrbanMicro(3.5e9), 100, (10, 1.5), False, 104.64383201),
        # the same at 200.0506 m and 28 GHz, less 0.3 * 4
        (UrbanMicro(28e9), 200, (10, 5.5), False, 133.25470449),
        # 28 + 22 log10(201.3759) + 20 log10(2); breakpoint 320 m
        (UrbanMacro(2e9), 200, (25, 1.5), True, 84.70876442),
        # 28 + 40 log10(1000.2761) + 20 log10(2) - 9 log10(320^2 + 23.5^2)
        (UrbanMacro(2e9), 1000, (25, 1.5), True, 108.91167279),
        # 13.54 + 39.08 log10(201.1523) + 20 log10(2) - 0.6 * 2
        (UrbanMacro(2e9), 200, (25, 3.5), False, 108.38235748),
        # 32.4 + 17.3 log10(20) + 20 log10(5) and 38.3 log10(20) + 17.3 + 24.9 log10(5)
        (IndoorOffice(5e9), 20, (1.5, 1.5), True, 68.88721901),
        (IndoorOffice(5e9, "open"), 20, (1.5, 1.5), False, 84.53380194),
    ],
)
def test_tr38901_losses_by_hand(law, horizontal, heights, los, loss):
    distance = slant(horizontal, *heights)
    assert_allclose(law.loss_db(distance, heights, los), loss, atol=1e-8)
    assert_allclose(law.gain(distance, heights, los), 10 ** (-loss / 10), rtol=1e-8)


@pytest.mark.parametrize(
    ("law", "horizontal", "probability"),
    [
        (UrbanMicro(3e9), [0.0, 18.0, 36.0], [1, 1, 0.6839397206]),
        (UrbanMacro(3e9), [5.0, 18.0, 63.0], [1, 1, 0.5484853151]),
        (IndoorOffice(3e9), [1.2, 4.2, 6.5, 39.1], [1, 0.5281907073, 0.32, 0.1177214212]),
        (
            IndoorOffice(3e9, "open"),
            [5.0, 15.0, 49.0, 260.7],
            [1, 0.8682783483, 0.5371548168, 0.1986548982],
        ),
    ],
)
def test_tr38901_probabilities_of_line_of_sight_by_hand(law, horizontal, probability):
    heights = (3.0, 1.5)
    got = law.los_probability(slant(horizontal, *heights), heights)
    assert_allclose(got, probability, atol=1e-9)


def test_tr38901_shadowing():
    states = [True, False]
    assert_array_equal(UrbanMicro(3e9).shadowing_std_db(states), [4, 7.82])
    assert_array_equal(UrbanMacro(3e9).shadowing_std_db(states), [4, 6])
    assert_array_equal(IndoorOffice(3e9).shadowing_std_db(states), [3, 8.03])
    assert_array_equal(FreeSpace(3e9).shadowing_std_db(states), [0, 0])
    assert_array_equal(LogDistance(3.0, 40.0, shadowing_db=6.0).shadowing_std_db(states), [6, 6])


@pytest.mark.parametrize("law", [UrbanMicro(0.7e9), UrbanMacro(2e9)])
def test_loss_is_continuous_at_the_breakpoint(law):
    heights = (20.0, 1.7)
    breakpoint_m = 4 * 19 * 0.7 * law.frequency_hz / 3e8
    distance = slant(breakpoint_m * (1 + np.array([-1e-9, 1e-9])), *heights)
    below, above = law.loss_db(distance, heights)
    assert_allclose(below, above, atol=1e-6)


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("los", [True, False])
def test_loss_grows_with_distance_and_obstruction(law, los):
    heights = (10.0, 1.5)
    distance = slant(np.geomspace(10, 140 if isinstance(law, IndoorOffice) else 5000, 300), *heights)
    loss = law.loss_db(distance, heights, los)
    assert np.all(np.diff(loss) > 0)
    assert np.all(loss >= law.loss_db(distance, heights, True))
    probability = law.los_probability(distance, heights)
    assert np.all((probability > 0) & (probability <= 1))
    # The published table for open offices steps up at 49 m, from 0.5372 to 0.54.
    steps_up = law == IndoorOffice(60e9, "open")
    assert np.sum(np.diff(probability) > 0) == steps_up


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_a_batch_is_a_loop(law):
    rng = np.random.default_rng(4)
    terminal = rng.uniform(1.5, 5, 6)
    distance = rng.uniform(40, 140, (3, 6))
    los = rng.random((3, 6)) < 0.5
    loss = law.loss_db(distance, (10.0, terminal), los)
    for i, j in np.ndindex(3, 6):
        one = law.loss_db(distance[i, j], (10.0, terminal[j]), bool(los[i, j]))
        assert one.shape == ()
        assert_allclose(one, loss[i, j], rtol=1e-15)


def test_element_gain_by_hand():
    element = SurfaceElement(area=0.25)  # half a wavelength by half a wavelength
    assert_allclose(10 * np.log10(element.gain(1.0)), 4.97149873, atol=1e-8)  # 10 log10(pi)
    assert_allclose(10 * np.log10(element.gain(0.5)), 4.97149873 - 3.01029996, atol=1e-8)
    assert_allclose(SurfaceElement(0.25, 3.0).gain(0.5), np.pi / 8, rtol=1e-14)
    assert_array_equal(element.gain([0.0, -0.3, -1.0]), [0, 0, 0])
    assert_array_equal(SurfaceElement(0.1, 0.0).gain([-0.2, 0.0]), [0, 0])


def test_two_hops_over_an_element_obey_the_product_law():
    # 3 GHz (lambda = 99.931 mm), 50 m at 60 degrees, 20 m at broadside, area (lambda / 2)^2 = 24.9654 cm^2:
    # A cos(60) / (4 pi 50^2) = -74.00841 dB, A / (4 pi 20^2) = -63.03931 dB.
    element, free = SurfaceElement(0.25), FreeSpace(3e9)
    area = 0.25 * (299792458 / 3e9) ** 2
    cascade = free.gain(50.0) * element.gain(0.5) * element.gain(1.0) * free.gain(20.0)
    product = area * 0.5 / (4 * np.pi * 50**2) * area / (4 * np.pi * 20**2)
    assert_allclose(cascade, product, rtol=1e-13)
    assert_allclose(10 * np.log10(cascade), -74.00841 - 63.03931, atol=2e-5)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.5])
def test_the_largest_element_is_the_one_that_radiates_all_its_power(exponent):
    largest = (exponent + 1) / (2 * np.pi)
    element = SurfaceElement(largest * (1 - 1e-12), exponent)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    cosine = (nodes + 1) / 2  # the front half of the sphere; behind, the gain is 0
    assert_allclose(weights @ element.gain(cosine) / 4, 1, rtol=1e-6)
    with pytest.raises(InvalidArgumentError, match="area"):
        SurfaceElement(largest * 1.001, exponent)


def test_thermal_noise_by_hand():
    # -173.9752 dBm/Hz + 73.0103 dB(20 MHz) + 9 dB
    assert_allclose(noise_power_dbm(20e6, 9.0), -91.96488724, atol=1e-8)
    assert_allclose(noise_power_dbm(1.0), -173.97518719, atol=1e-8)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("frequency_hz", lambda: FreeSpace(0.0)),
        ("frequency_hz", lambda: UrbanMicro(0.4e9)),
        ("frequency_hz", lambda: IndoorOffice(101e9)),
        ("office", lambda: IndoorOffice(3e9, "closed")),
        ("exponent", lambda: LogDistance(-2.0, 40.0)),
        ("reference_db", lambda: LogDistance(2.0, np.nan)),
        ("reference_m", lambda: LogDistance(2.0, 40.0, 0.0)),
        ("shadowing_db", lambda: LogDistance(2.0, 40.0, 1.0, -1.0)),
        ("distance_m", lambda: FreeSpace(1e9).loss_db(0.0)),
        ("distance_m", lambda: FreeSpace(1e9).loss_db([1.0, np.inf])),
        ("distance_m", lambda: LogDistance(2.0, 40.0, 10.0).loss_db(9.9)),
        ("distance_m", lambda: UrbanMicro(3e9).loss_db(slant(9.9, 10, 1.5), (10, 1.5))),
        ("distance_m", lambda: UrbanMacro(3e9).loss_db(5001.0, (25, 1.5))),
        ("distance_m", lambda: UrbanMacro(3e9).loss_db(20.0, (25, 1.5))),
        ("distance_m", lambda: IndoorOffice(3e9).loss_db(151.0, (3, 1))),
        ("heights_m", lambda: UrbanMicro(3e9).loss_db(100.0)),
        ("heights_m", lambda: UrbanMicro(3e9).loss_db(100.0, 10.0)),
        ("heights_m", lambda: UrbanMicro(3e9).los_probability(100.0, (10, 23.0))),
        ("heights_m", lambda: UrbanMicro(3e9).loss_db(100.0, (10, 1.4))),
        ("heights_m", lambda: UrbanMicro(3e9).loss_db(100.0, (1.0, 1.5))),
        ("heights_m", lambda: UrbanMacro(3e9).loss_db(100.0, (25, 13.1))),
        ("distance_m, heights_m", lambda: UrbanMicro(3e9).loss_db([50.0, 60.0], (10, [2, 2, 2]))),
        ("line_of_sight", lambda: UrbanMicro(3e9).loss_db(100.0, (10, 1.5), 1)),
        ("area", lambda: SurfaceElement(0.0)),
        ("exponent", lambda: SurfaceElement(0.1, -1.0)),
        ("cosine", lambda: SurfaceElement(0.1).gain(1.1)),
        ("bandwidth_hz", lambda: noise_power_dbm(0.0)),
        ("noise_figure_db", lambda: noise_power_dbm(1e6, -1.0)),
    ],
)
def test_bad_input_is_named(argument, call):
    with pytest.raises(InvalidArgumentError) as error:
        call()
    assert error.value.argument == argument
