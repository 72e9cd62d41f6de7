"""Phases by trained networks: what they are, and what is refused or warned of."""

import dataclasses
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from predictors_graphs import residual_cnn

import channels
import ris
from channels.errors import InvalidArgumentError
from ris.predictors import zoo
from ris.predictors.features import CHANNELS, system_maps
from ris.predictors.model import FloatModel
from ris.predictors.model_file import ModelFileError, read_model, write_model
from ris.predictors.module import Network
from ris.predictors.networks import NETWORKS
from ris.predictors.statistical import StatisticalTask
from ris.predictors.task import unit
from ris.predictors.trained_range import TrainedRange

SYSTEMS = 6


@pytest.fixture(scope="module")
def side():
    """Rows of the largest surface that the reference network was trained for."""
    return TrainedRange.from_metadata(zoo.load_predictor("reference").model.metadata).grids[-1][0]


@pytest.fixture(scope="module")
def scenes(side):
    return StatisticalTask(side).scenes("test", SYSTEMS)


def predicted(scenes, i, **options):
    return ris.predict_phases(scenes.system(i), power=1.0, noise_power=scenes.noise_power[i], **options)


def mean_rate(scenes, design):
    rates = []
    for i in range(SYSTEMS):
        system = scenes.system(i)
        rates.append(
            ris.closed_form_rate(system, *design(i), power=1.0, noise_power=scenes.noise_power[i]).sum()
        )
    return np.mean(rates)


def distance(ours, theirs):
    return np.abs(np.angle(np.exp(1j * (np.concatenate(ours) - np.concatenate(theirs))))).max()


def test_phases_are_those_of_the_network_in_torch(scenes):
    model = zoo.load_predictor("reference").model
    network = Network(model.graph, 0, model.rows, model.columns).eval()
    network.load_arrays(model.arrays)
    for i in range(SYSTEMS):
        maps = system_maps(scenes.system(i), power=1.0, noise_power=scenes.noise_power[i])
        with torch.no_grad():
            out = network(torch.from_numpy(np.stack(maps))).double().numpy()[:, 0]
        phasors = np.exp(1j * np.array(predicted(scenes, i))).reshape(2, *out.shape[-2:])
        # Phasors turn fast where the network's output is small.
        modulus = np.hypot(out[:, 0], out[:, 1])
        np.testing.assert_allclose(
            modulus * phasors, out[:, 0] + 1j * out[:, 1], rtol=0, atol=1e-5 * modulus.max()
        )


@pytest.mark.parametrize("model", ["reference", "reference-int8"])
def test_better_than_steering_and_no_worse_than_the_mean_gain(scenes, model):
    """The search for the highest mean gain takes many times as long, and comes close."""
    reached = mean_rate(scenes, lambda i: predicted(scenes, i, model=model))
    assert reached > 1.15 * mean_rate(scenes, lambda i: ris.steered_phases(scenes.system(i), 0))
    assert reached > 0.98 * mean_rate(scenes, lambda i: tuple(ris.optimal_phases(scenes.system(i))))


def test_integers_cost_little(scenes):
    reached = [
        mean_rate(scenes, lambda i, m=m: predicted(scenes, i, model=m))
        for m in ("reference-int8", "reference")
    ]
    assert reached[0] > 0.97 * reached[1]


def test_the_order_of_the_users_does_not_matter(scenes):
    order = [2, 0, 3, 1]
    shuffled = dataclasses.replace(
        scenes, angles=scenes.angles[:, order], spreads=scenes.spreads[:, order], gains=scenes.gains[:, order]
    )
    for model, tolerance in (("reference", 1e-4), ("reference-int8", 1e-5)):
        for i in range(SYSTEMS):
            ours, theirs = (predicted(some, i, model=model) for some in (scenes, shuffled))
            assert distance(ours, theirs) <= tolerance


@pytest.mark.parametrize("model", ["reference", "reference-int8"])
@pytest.mark.parametrize("bits", [1, 2, 3])
def test_phases_of_few_bits_are_the_nearest_levels(scenes, model, bits):
    fine, coarse = (np.concatenate(predicted(scenes, 0, model=model, bits=b)) for b in (None, bits))
    np.testing.assert_allclose(ris.quantize_phases(coarse, bits), coarse, atol=1e-12)
    assert np.abs(np.angle(np.exp(1j * (fine - coarse)))).max() <= np.pi / 2**bits + 1e-3


def test_surfaces_may_differ_in_shape(tmp_path, side):
    """Maps of two shapes are worked through one after the other, to the same phases."""
    path, paired = tmp_path / "two.h5", tmp_path / "paired.h5"
    reference = zoo.load_predictor("reference").model
    stated = TrainedRange.from_metadata(reference.metadata)
    wider = dataclasses.replace(stated, grids=(*stated.grids, (side, side // 2)))
    write_model(dataclasses.replace(reference, metadata={"range": wider.as_metadata()}), paired)
    graph = NETWORKS["se"](len(CHANNELS), side)
    arrays = Network(graph, 0).arrays()
    write_model(FloatModel(graph, arrays, side, side, {"range": wider.as_metadata()}), path)
    scenes = StatisticalTask(side).scenes("test", 1)
    system = scenes.system(0)
    half = np.arange(side**2).reshape(side, side)[:, : side // 2].ravel()

    def cut(correlation):
        matrix = np.asarray(correlation.matrix)[..., half[:, None], half]
        return channels.Correlation(matrix)

    smaller = dataclasses.replace(
        system,
        bs_ris2=channels.Hop(system.bs_ris2.gain, system.bs_ris2.left, cut(system.bs_ris2.right)),
        ris1_ris2=channels.Hop(system.ris1_ris2.gain, system.ris1_ris2.left, cut(system.ris1_ris2.right)),
        ris2_user=channels.UserHop(system.ris2_user.gain, cut(system.ris2_user.correlation)),
    )
    given = {"power": 1.0, "noise_power": scenes.noise_power[0]}
    theta1, theta2 = ris.predict_phases(smaller, model=path, grid2=(side, side // 2), **given)
    assert theta1.shape == (side**2,)
    assert theta2.shape == (side**2 // 2,)
    with pytest.raises(InvalidArgumentError, match="surfaces of one shape"):
        ris.predict_phases(smaller, model=paired, grid2=(side, side // 2), **given)
    maps = system_maps(smaller, grid2=(side, side // 2), **given)
    np.testing.assert_array_equal(
        theta2, zoo.load_predictor(path).phases(maps[1][None])[0].ravel().astype(float)
    )


def test_systems_of_the_training_raise_no_warning(side):
    scenes = StatisticalTask(side, users=3).scenes("validation", SYSTEMS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i in range(SYSTEMS):
            predicted(scenes, i)


@pytest.mark.parametrize(
    ("factor", "name"), [(1e-4, "log10 SNR single"), (1e4, "log10 SNR single")], ids=["loud", "quiet"]
)
def test_noise_outside_the_training_is_named(scenes, factor, name):
    with pytest.warns(ris.OutOfRangeWarning, match=name):
        ris.predict_phases(scenes.system(0), power=1.0, noise_power=factor * scenes.noise_power[0])


def test_directions_outside_the_training_are_named(scenes):
    angles = np.array(scenes.angles)
    angles[:, :, 0], scenes.hops.angles[:, 0] = np.radians([85.0, 0.0]), np.radians([-85.0, 0.0])
    with pytest.warns(ris.OutOfRangeWarning, match="step by column"):
        predicted(dataclasses.replace(scenes, angles=angles), 0)


def test_antennas_outside_the_training_are_named(scenes):
    system, bs = scenes.system(0), channels.exponential_correlation(64, 0.5)
    system = dataclasses.replace(
        system,
        bs_ris1=channels.Hop(system.bs_ris1.gain, bs, system.bs_ris1.right),
        bs_ris2=channels.Hop(system.bs_ris2.gain, bs, system.bs_ris2.right),
    )
    with pytest.warns(ris.OutOfRangeWarning, match="antennas: 64"):
        ris.predict_phases(system, power=0.25, noise_power=scenes.noise_power[0])


def refused(match, system, **options):
    options = {"power": 1.0, "noise_power": 1.0, **options}
    with pytest.raises(InvalidArgumentError, match=match):
        ris.predict_phases(system, **options)


def test_other_makes_of_systems_are_refused(scenes, side):
    system = scenes.system(0)
    refused("paths", dataclasses.replace(system, ris1_ris2=None))
    direct = channels.UserHop(np.ones(4), channels.exponential_correlation(16, 0.5))
    refused("paths", dataclasses.replace(system, bs_user=direct))
    refused("users", StatisticalTask(side, users=9).scenes("test", 1).system(0))
    refused("surfaces of", StatisticalTask(5).scenes("test", 1).system(0))
    refused("ris.DoubleRIS", "a system")


def test_bad_arguments_are_refused(scenes, tmp_path):
    system = scenes.system(0)
    refused("power", system, power=0.0)
    refused("noise_power", system, noise_power=np.nan)
    refused("bits", system, bits=0)
    refused("bits", system, bits=9)
    refused("grid1", system, grid1=(3, 5))
    refused("reference", system, model="referense")
    refused("a file", system, model=tmp_path / "none.h5")
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(zoo.path_of("reference").read_bytes()[:-7])
    with pytest.raises(ModelFileError):
        ris.predict_phases(system, power=1.0, noise_power=1.0, model=damaged)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"range": 3},
        {"range": {"paths": [], "antennas": [1], "users": [1, 2], "grids": [], "quantities": {}}},
        {"range": {"paths": [], "antennas": [1, 2], "users": [1, 2], "grids": [], "quantities": {}}},
    ],
    ids=["nothing", "number", "half a pair", "no quantities"],
)
def test_models_that_state_no_range_are_refused(scenes, tmp_path, metadata):
    graph = residual_cnn(4, 1, len(CHANNELS))
    arrays = Network(graph, 0).arrays()
    write_model(FloatModel(graph, arrays, metadata=metadata), tmp_path / "bare.h5")
    refused("trained for", scenes.system(0), model=tmp_path / "bare.h5")


def test_models_of_another_task_are_refused(scenes, tmp_path):
    stated = zoo.load_predictor("reference").model.metadata
    graph = residual_cnn(4, 1, 11)
    write_model(FloatModel(graph, Network(graph, 0).arrays(), metadata=stated), tmp_path / "other.h5")
    refused("13 input channels", scenes.system(0), model=tmp_path / "other.h5")
    refused("one of the task 'instantaneous'", scenes.system(0), model="instantaneous")


def test_shipped_models_are_small_and_say_what_made_them():
    assert {"reference", "reference-int8"} <= set(zoo.names())
    assert sum(zoo.path_of(name).stat().st_size for name in zoo.names()) <= 2e6
    for name in zoo.names():
        metadata = read_model(zoo.path_of(name)).metadata
        assert metadata["command"]
        assert metadata["recipes"]
        assert metadata["metrics"]["test"] > 0


@pytest.mark.parametrize("name", ["reference", "reference-int8"])
def test_shipped_rates_return(name):
    """What a model says that it reaches is what it reaches: on some systems to the last digits."""
    metadata = zoo.load_predictor(name).model.metadata
    task = StatisticalTask(metadata["recipes"][-1]["side"])
    batch = task.systems("test", 64)
    made = zoo.load_predictor(name).run(batch.maps)[:, 0]
    rates = batch.rates(unit(made[:, 0] + 1j * made[:, 1])).sum(-1)
    stated = metadata["metrics"]
    assert rates[: len(stated["first of test"])] == pytest.approx(stated["first of test"], rel=1e-3)
    # The mean of 64 systems is within 5 standard errors of that of all.
    assert abs(rates.mean() - stated["test"]) < 5 * rates.std() / 8


def test_no_torch_is_loaded():
    code = """
import sys, numpy, ris
from ris.predictors.statistical import StatisticalTask
from ris.predictors.zoo import load_predictor
side = load_predictor("reference-int8").model.rows
scenes = StatisticalTask(side).scenes("test", 1)
ris.predict_phases(scenes.system(0), power=1.0, noise_power=scenes.noise_power[0], model="reference-int8")
print(*sorted({"torch", "matplotlib", "pydantic"} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
