"""The stated confidence holds although runs stop where their interval has the width that was asked for."""

import numpy as np
import pytest
from sweeps import METRICS, ONE_AXIS, study_text

import channels
import ris
from ris.estimates import Estimate
from studies.blocks import KINDS, Measurement, Task
from studies.build import build
from studies.checkpoint import Block
from studies.config import parse_study
from studies.errors import StudyFileError
from studies.run import Plan, run_study
from studies.stopping import FIRST_LOOK, StoppingRule, critical
from studies.transmission import power_and_noise

BLOCK, BLOCKS, STUDIES, PARTS = 32, 96, 2000, 8
OUTAGE_RATE = 1.0
COVERED = ("ergodic_sum_rate", "hardening_sum_rate", "outage", "minimum_rate")


def moments(rows):
    """Means and co-moments of blocks from rows (blocks, BLOCK, ..., n)."""
    mean = rows.mean(axis=1)
    centred = np.moveaxis(rows - mean[:, None], 1, -1)
    return mean, centred @ np.swapaxes(centred, -1, -2)


def blocks_of_studies(point, part):
    """Blocks of many studies over realizations of their own, computed together."""
    system, theta1, theta2 = build(point)
    power, noise_power = power_and_noise(point.transmission)
    count = STUDIES // PARTS * BLOCKS * BLOCK
    H = ris.draw_channels(
        system, theta1, theta2, realizations=count, seed=channels.Stream(1, "coverage"), first=part * count
    )
    gram = np.abs(np.einsum("nmk,nmj->nkj", H.conj(), H))
    own = np.einsum("nkk->nk", gram)
    others = np.sum(gram**2, axis=-1) - own**2
    noise = noise_power / power * ris.closed_form_moments(system, theta1, theta2).precoder_gain.sum()
    rates = np.log2(1 + own**2 / (others + noise))
    per_user = np.stack([own, own**2, others, own, rates], axis=1)
    observed = np.concatenate([rates.min(axis=1, keepdims=True), rates < OUTAGE_RATE], axis=1)
    K = own.shape[1]
    shapes = {
        "per_user": (5 * K,),
        "interferences": (K, K, 1),
        "gain_products": (K, K, 1),
        "observed": (1 + K,),
    }
    rows = {
        "per_user": per_user,
        "interferences": gram**2,
        "gain_products": np.zeros_like(gram),
        "observed": observed,
    }
    found = {kind: moments(rows[kind].reshape(-1, BLOCK, *shapes[kind])) for kind in KINDS}
    for number in range(STUDIES // PARTS * BLOCKS):
        arrays = {"count": np.array(float(BLOCK)), "unconverged": np.array(0.0)}
        for kind, (mean, comoment) in found.items():
            arrays[f"{kind}_mean"], arrays[f"{kind}_comoment"] = mean[number], comoment[number]
        yield Block(arrays, 0.0)


@pytest.fixture(scope="module")
def small():
    more = f"[metrics]\noutage_rate = {OUTAGE_RATE}"
    text = study_text(ONE_AXIS, more, realizations=BLOCK * BLOCKS, block=BLOCK)
    text = text.replace('["direct", "double"]', '["direct"]').replace("antennas = 2", "antennas = 4")
    plan = Plan.of(parse_study(text, "small"))
    return plan, plan.study.point(0, 10)


def test_empirical_coverage_of_stopped_intervals(small):
    plan, point = small
    task = Task.of(point, channels.Stream(1), BLOCK * BLOCKS, BLOCK, plan.study.settings.metrics)
    system, theta1, theta2 = build(point)
    power, noise_power = power_and_noise(point.transmission)
    everything = Measurement(task)
    # Targets that are reached, on average, half-way between the first look and the end.
    pilot = Measurement(task)
    for _, block in zip(range(64), blocks_of_studies(point, 0), strict=False):
        pilot.take(block)
    rules = {
        (name, confidence): StoppingRule(
            critical(confidence, 64) * float(np.max(pilot.estimate(name).standard_error)),
            False,
            confidence,
            0,
            BLOCKS,
            None,
        )
        for name in COVERED
        for confidence in (0.95, 0.99)
    }
    intervals = {key: [] for key in rules}
    for part in range(PARTS):
        blocks = blocks_of_studies(point, part)
        for _ in range(STUDIES // PARTS):
            study, look = Measurement(task, keep=True), FIRST_LOOK
            going = dict(rules)
            for block in (next(blocks) for _ in range(BLOCKS)):
                study.take(block)
                if study.blocks < look or not going:
                    continue
                look = next(iter(rules.values())).next_look(look)
                influences = study.influences(list(COVERED))
                found = {name: study.estimate(name) for name in COVERED}
                for name, confidence in list(going):
                    rule = going[name, confidence]
                    reason = rule.reason(study.blocks, 0.0, found[name], influences[name])
                    if reason is not None:
                        del going[name, confidence]
                        reach = critical(confidence, study.blocks) * found[name].standard_error
                        intervals[name, confidence].append((found[name].value, reach, study.blocks, reason))
            everything.take(Block(_whole(study), 0.0))
    truth = {name: everything.estimate(name).value for name in COVERED}
    rate = ris.closed_form_rate(system, theta1, theta2, power=power, noise_power=noise_power)
    truth["hardening_sum_rate"] = rate.sum()
    for (name, confidence), found in intervals.items():
        values, reaches, lengths, reasons = zip(*found, strict=True)
        assert len(values) == STUDIES
        assert reasons.count("half_width") > 0.8 * STUDIES, name
        assert len(set(lengths)) > 5, name
        covered = np.mean(np.abs(np.array(values) - truth[name]) <= np.array(reaches), axis=0)
        deviation = np.sqrt(confidence * (1 - confidence) / STUDIES)
        print(name, confidence, covered, np.mean(lengths), reasons.count("half_width"))
        # The seed is fixed: two and a half standard deviations are no gamble.
        assert np.all(covered >= confidence - 2.5 * deviation), name


def _whole(study):
    """One block of all that a study has observed."""
    arrays = {"count": np.array(float(study.simulation.realizations)), "unconverged": np.array(0.0)}
    for kind in KINDS:
        observations = getattr(study.simulation, kind)
        arrays |= {f"{kind}_mean": observations.mean, f"{kind}_comoment": observations.comoment}
    return arrays


def test_skewed_estimates_do_not_stop():
    rng = np.random.default_rng(1)
    rule = StoppingRule(1.0, False, 0.95, 0, 1000, None)
    narrow = Estimate(10.0, 0.01)
    assert rule.reason(40, 0.0, narrow, rng.standard_normal(40)) == "half_width"
    assert rule.reason(40, 0.0, narrow, rng.exponential(size=40) ** 2) is None
    assert (
        rule.reason(40, 0.0, Estimate(np.array([1.0, 1.0]), np.array([0.01, 2.0])), np.zeros((40, 2))) is None
    )


def test_reasons():
    steady = np.tile([-1.0, 1.0], 16)
    relative = StoppingRule(0.1, True, 0.95, 0, 100, 5.0)
    assert relative.reason(32, 0.0, Estimate(10.0, 0.4), steady) == "half_width"
    assert relative.reason(32, 0.0, Estimate(-10.0, 0.4), steady) == "half_width"
    assert relative.reason(32, 0.0, Estimate(1.0, 0.4), steady) is None
    assert relative.reason(32, 0.0, Estimate(1.0, 0.0), steady) is None
    assert relative.reason(31, 0.0, Estimate(10.0, 0.4), steady[:31]) is None
    assert relative.reason(3, 5.0) == "wall_time"
    assert relative.reason(100, 5.0) == "max_realizations"
    assert critical(0.95, 10**6) == pytest.approx(1.959964, abs=1e-5)
    assert critical(0.99, 2) == pytest.approx(63.6567, abs=1e-3)


def test_looks():
    rule = StoppingRule(0.1, True, 0.95, 50, 90, None)
    looks = [rule.next_look(0)]
    while looks[-1] < 90:
        looks.append(rule.next_look(looks[-1]))
    assert looks == [50, 56, 62, 69, 76, 84, 90]
    assert StoppingRule(0.1, True, 0.95, 0, 20, None).next_look(0) == 20
    assert StoppingRule(None, True, 0.95, 0, 20, None).next_look(0) == 20


def test_studies_stop_and_say_why():
    stop = '[stop]\nmetric = "outage"\nhalf_width = 0.08\nconfidence = 0.9'
    study = parse_study(study_text(ONE_AXIS, METRICS, stop, realizations=1200, block=10), "s")
    found = run_study(study)
    stopped = found.reasons == "half_width"
    assert stopped.any()
    error = found.data["outage", "standard_error"]
    for where in np.argwhere(stopped):
        blocks = found.counts[tuple(where)] // 10
        assert np.all(critical(0.9, int(blocks)) * error[tuple(where)] <= 0.08)
        assert found.counts[tuple(where)] >= 320
    # Differences pair what is common, and know how much each scheme has.
    assert np.all(np.isfinite(found.data["outage", "difference_standard_error"]))


def test_time_limit():
    stop = '[stop]\nmetric = "outage"\nhalf_width = 0.08\nwall_time_s = 1e-9'
    study = parse_study(study_text(ONE_AXIS, METRICS, stop, realizations=1200, block=10), "s")
    found = run_study(study)
    assert set(found.reasons.ravel()) == {"wall_time"}
    assert set(found.counts.ravel()) == {10}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('metric = "nothing"\nhalf_width = 1', "stop.metric: expected one of hardening_sum_rate,"),
        ('metric = "outage"\nhalf_width = 1', "stop.metric: expected one of hardening_sum_rate,"),
        ('metric = "mean_gain"', "stop: expected either half_width or relative_half_width"),
        ('metric = "mean_gain"\nhalf_width = 0', "stop.half_width: expected > 0, got 0"),
        ('metric = "mean_gain"\nhalf_width = 1\nconfidence = 1', "stop.confidence: expected < 1, got 1"),
    ],
)
def test_bad_rules(table, message):
    with pytest.raises(StudyFileError) as caught:
        parse_study(study_text(ONE_AXIS, f"[stop]\n{table}"), "s")
    assert message in str(caught.value)
