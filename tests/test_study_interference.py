"""Interference at the surfaces in the blocks of a study: the results are those of one simulation."""

import dataclasses

import numpy as np
from small_study import TEXT

import channels
import ris
from studies import blocks
from studies.blocks import Measurement, Task, compute_block
from studies.build import build
from studies.config import parse_study
from studies.transmission import power_and_noise


def test_blocks_carry_the_interference(monkeypatch):
    study = parse_study(TEXT, "small")
    point = study.point(0, 0)
    system, theta1, theta2 = build(point)
    system = dataclasses.replace(system, emi1=channels.Interference(2.0, system.ris1_user.correlation))
    monkeypatch.setattr(blocks, "_built", lambda text, seed: (point, system, theta1, theta2))
    stream = channels.Stream(4)
    task = Task.of(point, stream, 192, 64, study.settings.metrics)
    found = Measurement(task, keep=True)
    for number in range(task.blocks):
        found.take(compute_block(task, number))
    power, noise_power = power_and_noise(point.transmission)
    whole = ris.simulate(
        system, theta1, theta2, power=power, noise_power=noise_power, realizations=192, seed=stream
    )
    for name in ("hardening_sum_rate", "ergodic_sum_rate"):
        np.testing.assert_allclose(found.estimate(name).value, getattr(whole, name).value, rtol=1e-12)
    np.testing.assert_allclose(found.simulation.emi_power.value, whole.emi_power.value, rtol=1e-12)
    quiet = dataclasses.replace(found.simulation, mean_emi=None).hardening_sum_rate.value
    assert quiet > whole.hardening_sum_rate.value
    # Leaving out blocks is done with the interference too: their influences have the standard error.
    influences = found.influences(["hardening_sum_rate"])["hardening_sum_rate"]
    without = [
        dataclasses.replace(part, mean_emi=whole.mean_emi).hardening_sum_rate.value
        for part in _without_each(task)
    ]
    np.testing.assert_allclose(influences, 2 * (np.mean(without) - np.array(without)), rtol=1e-9)


def _without_each(task):
    """Simulations of all blocks but one."""
    made = [compute_block(task, number) for number in range(task.blocks)]
    for left in range(task.blocks):
        study = Measurement(task)
        for number, block in enumerate(made):
            if number != left:
                study.take(block)
        yield study.simulation
