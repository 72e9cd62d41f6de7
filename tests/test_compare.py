"""The comparison of predictors: rates, intervals, files, and the commands."""

import csv
import dataclasses

import numpy as np
import pytest
from predictors_graphs import residual_cnn

from channels.errors import InvalidArgumentError
from ris.predictors import compare as comparing
from ris.predictors.compare import OPTIMUM, SPLITS, Comparison, Entry, Settings, compare, untrained_ways
from ris.predictors.compress.methods import compressed
from ris.predictors.instantaneous import InstantaneousTask
from ris.predictors.model import FloatModel
from ris.predictors.model_file import read_model, write_model
from ris.predictors.module import Network
from ris.predictors.optimum import Search
from ris.predictors.publish import float_model
from ris.predictors.state_file import StateFileError
from ris.predictors.statistical import StatisticalTask
from ris.predictors.train import Recipe, on_device, sum_rates, train
from ris.predictors.trained_range import TrainedRange
from ris.predictors.weights import save
from studies import comparison, plots
from studies.cli import run_command

SMALL = Settings(systems=3, budgets=(2, 8), random_starts=1, steps=25, at_once=2, search=Search(1, 2, 1, 4))
RECIPE = Recipe(network="se", side=4, steps=6, batch=6)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    network = train(RECIPE).network
    paths = {}
    made = {
        "tiny": float_model(network, [RECIPE], "a command", 4),
    }
    made["tiny-int8"] = compressed(made["tiny"], "qat", 8, "a command", 4, steps=2)
    for name, model in made.items():
        paths[name] = folder / f"{name}.h5"
        write_model(model, paths[name])
    return paths


@pytest.fixture(scope="module")
def found(models):
    return compare("statistical", models, SMALL)


def entry(name, rates, kind="ascent"):
    return Entry(name, kind, dict.fromkeys(SPLITS, np.asarray(rates, float)), 1e-3)


def test_every_way_is_there(found, models):
    names = [one.name for one in found.entries]
    assert {"random", "optimal mean gain", "steering, best user", "superposed steering"} <= set(names)
    assert {"ascent, 2 steps", "ascent, 8 steps", OPTIMUM, *models} <= set(names)
    for one in found.entries:
        assert all(one.rates[split].shape == (SMALL.systems,) for split in SPLITS)
        assert one.seconds > 0


def test_the_optimum_is_above_all_that_it_starts_from(found):
    for split in SPLITS:
        best = found[OPTIMUM].rates[split]
        for name in ("superposed steering", "steering, best user", "random"):
            assert (best >= found[name].rates[split] * (1 - 1e-3)).all()


def test_rates_do_not_depend_on_the_cut_into_blocks(found, models):
    """But for random phases, drawn block by block, and for what rates leave out of covariances."""
    again = compare("statistical", models, Settings(3, (2, 8), 1, 1, at_once=3, search=SMALL.search))
    for name in ("optimal mean gain", "steering, best user", "superposed steering", *models):
        for split in SPLITS:
            np.testing.assert_allclose(again[name].rates[split], found[name].rates[split], rtol=1e-4)


def test_rates_are_those_of_the_closed_form(found, models):
    import ris

    scenes = StatisticalTask(4).scenes("test", SMALL.systems)
    for i in range(SMALL.systems):
        system, noise = scenes.system(i), scenes.noise_power[i]
        for name, theta in (
            ("optimal mean gain", ris.optimal_phases(system)),
            ("tiny", ris.predict_phases(system, power=1.0, noise_power=noise, model=models["tiny"])),
        ):
            rate = ris.closed_form_rate(system, *theta, power=1.0, noise_power=noise).sum()
            assert found[name].rates["test"][i] == pytest.approx(rate, rel=1e-4)


def test_sizes_and_operations(found, models):
    float_entry, integer = found["tiny"], found["tiny-int8"]
    assert float_entry.bytes == models["tiny"].stat().st_size
    model = read_model(models["tiny-int8"])
    products = model.graph.products(4, 4, 4)
    assert float_entry.bit_operations == 2 * 32 * 32 * sum(products.values())
    # Eight bits of both factors, but for real weights times codes of phasors behind the last layer.
    real = sum(products[node.name] for node in model.graph if node.op == "mul" and node.name in model.real)
    assert integer.bit_operations == 2 * (8 * 8 * (sum(products.values()) - real) + 32 * 8 * real)
    assert 10 < float_entry.bit_operations / integer.bit_operations < 16
    assert found.floating(integer) is float_entry
    assert found.floating(float_entry) is None


def test_intervals_hold_the_mean_as_often_as_they_say():
    """In 200 samples of 50 systems, 170 to 199 times, but for a chance of 1e-5."""
    generator, held = np.random.default_rng(1), 0
    for _ in range(200):
        one = Comparison("statistical", 4, 4, (entry(OPTIMUM, generator.exponential(1.0, 50)),))
        _, low, high = one.mean(one.entries[0], "test")
        held += low <= 1.0 <= high
    assert 170 <= held <= 199


def test_shares_are_paired():
    """Rates that differ by one factor everywhere have a ratio without spread, however they vary."""
    rates = np.random.default_rng(2).exponential(1.0, 40)
    one = Comparison("statistical", 4, 4, (entry(OPTIMUM, rates), entry("less", 0.9 * rates)))
    np.testing.assert_allclose(one.share(one["less"], "test"), 0.9, rtol=1e-12)
    low, high = one.mean(one["less"], "test")[1:]
    assert high - low > 0.1


def test_unrolled_networks_and_weights_of_four_bits(models, tmp_path):
    recipe = dataclasses.replace(RECIPE, network="unrolled1", steps=2)
    alone = train(RECIPE).network
    trained = train(recipe, start=alone.state_dict())
    save(tmp_path / "climbing.h5", [RECIPE, recipe], trained, {})
    four = compressed(float_model(alone, [RECIPE], "", 1), "qat", 4, "a command", 2, steps=0)
    write_model(four, tmp_path / "tiny-int4.h5")
    paths = {name: tmp_path / f"{name}.h5" for name in ("climbing", "tiny-int4")}
    found = compare("statistical", {**models, **paths}, dataclasses.replace(SMALL, systems=2, budgets=()))
    climbing, start = found["climbing"], found["tiny"]
    assert climbing.kind == "unrolled"
    assert climbing.bytes > start.bytes
    assert climbing.bit_operations > start.bit_operations
    step = trained.network.step.graph.bit_operations(1, 4, 4)
    assert climbing.bit_operations == start.bit_operations + 2 * step
    batch = on_device(StatisticalTask(4).systems("test", 2), "cpu")
    np.testing.assert_allclose(climbing.rates["test"], sum_rates(trained.network, batch), rtol=1e-3)
    assert found["tiny-int4"].kind == "integer"
    assert found.floating(found["tiny-int4"]) is start
    assert found["tiny-int4"].bytes < found["tiny-int8"].bytes


def test_an_interrupted_comparison_goes_on(models, found, tmp_path, monkeypatch):
    """It works out each rate once, and ends with the same ones; the file of another model is not taken."""

    class StoppedError(Exception):
        pass

    def stop(share, text):
        if share > 0.6:
            raise StoppedError

    monkeypatch.setattr(comparing, "TIMED", 0.0)
    few, tiny = dataclasses.replace(SMALL, budgets=(2,)), {"tiny": models["tiny"]}
    with pytest.raises(StoppedError):
        compare("statistical", tiny, few, stop, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = compare("statistical", tiny, few, folder=tmp_path)
    for one in again.entries:
        for split in SPLITS:
            np.testing.assert_array_equal(one.rates[split], found[one.name].rates[split])
    assert len(before) < len(list(tmp_path.iterdir())) == 4 * len(again.entries)
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    other = compare("statistical", {"tiny": models["tiny-int8"]}, few, folder=tmp_path)["tiny"]
    np.testing.assert_array_equal(other.rates["test"], found["tiny-int8"].rates["test"])
    assert len(list(tmp_path.iterdir())) == 4 * (len(again.entries) + 1)


def test_what_decides_the_optimum_is_told_apart():
    families = StatisticalTask(4), InstantaneousTask(4)
    searches = (
        SMALL,
        dataclasses.replace(SMALL, search=Search(1, 2, 1, 5)),
        dataclasses.replace(SMALL, steps=26),
    )
    told = [[untrained_ways(family, one)[OPTIMUM].made_by for one in searches] for family in families]
    assert told[0][0] == told[0][2] != told[0][1]
    assert told[1][0] == told[1][1] != told[1][2]


def test_damaged_rates_are_found(models, tmp_path):
    one = dataclasses.replace(SMALL, systems=2, budgets=())
    compare("statistical", {"tiny": models["tiny"]}, one, folder=tmp_path)
    path = min(tmp_path.iterdir())
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StateFileError, match=r"hash.*remove the file"):
        compare("statistical", {"tiny": models["tiny"]}, one, folder=tmp_path)


def test_models_of_several_sizes_or_tasks_are_refused(models, tmp_path):
    graph = residual_cnn(4, 1)
    for task, message in (("statistical", "one size"), ("instantaneous", "statistical task")):
        other = FloatModel(graph, Network(graph, 0).arrays(), 8, 8, {"task": task})
        write_model(other, tmp_path / "other.h5")
        with pytest.raises(InvalidArgumentError, match=message):
            compare("statistical", {**models, "other": tmp_path / "other.h5"}, SMALL)


def test_table_file_and_picture(found, tmp_path):
    table = comparison.comparison_table(found)
    assert table.row_count == 2 * len(found.entries)
    comparison.write_comparison(found, tmp_path / "c.csv")
    with (tmp_path / "c.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["phases"] for row in rows] == [one.name for one in found.entries]
    last = rows[-1]
    assert float(last["test_share_of_float"]) == found.share(found["tiny-int8"], "test", found["tiny"]).value
    assert rows[0]["test_share_of_float"] == ""
    plots.write_figure(lambda: comparison.draw_comparison(found), tmp_path / "c.png", tmp_path / "c.pdf")
    axes = comparison.draw_comparison(found).axes[0]
    assert len(axes.containers) == 2 * len(found.entries)


def test_instantaneous_task(tmp_path):
    recipe = Recipe(task="instantaneous", network="cnn", side=4, steps=2, batch=4)
    write_model(float_model(train(recipe).network, [recipe], "a command", 4), tmp_path / "i.h5")
    made = compare("instantaneous", {"i": tmp_path / "i.h5"}, Settings(2, (5,), 0, 10))
    assert "optimal mean gain" not in [one.name for one in made.entries]
    assert (made[OPTIMUM].rates["test"] >= made["superposed steering"].rates["test"] * (1 - 1e-3)).all()


def test_the_metric_of_a_training_returns(models):
    """The same recipe gives the same weights and the same rates, to the last bit."""
    stated = read_model(models["tiny"])
    recipes = [Recipe(**recipe) for recipe in stated.metadata["recipes"]]
    again = float_model(train(recipes[-1]).network, recipes, stated.metadata["command"], 4)
    assert again.metadata["metrics"] == stated.metadata["metrics"]
    for name, array in stated.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)


def test_ranges_hold_what_was_trained(models):
    trained = TrainedRange.from_metadata(read_model(models["tiny"]).metadata)
    assert trained.grids == ((4, 4),)
    assert trained.users == (2, 6)
    assert trained.antennas == (16, 16)
    low, high = trained.quantities["mean element"]
    assert 0.6 < low < high < 1.0


SYSTEM = """
title = "Users in different directions"
description = "Like the systems of the training."
seed = 1
realizations = 1000
quick_realizations = 100
[system]
links = ["single", "double"]
[system.bs]
antennas = 16
spacing = 0.5
correlation = {{ law = "exponential", coefficient = 0.5 }}
[system.surface1]
rows = {side}
columns = {side}
spacing = 0.25
correlation = {{ law = "isotropic" }}
towards_bs = {{ law = "local_scattering", azimuth_deg = 20, elevation_deg = 5, angular_spread_deg = 4 }}
towards_surface = {{ law = "local_scattering", azimuth_deg = -40, elevation_deg = 0, angular_spread_deg = 4 }}
phase_noise = {{ law = "von_mises", concentration = 8.0 }}
[system.surface2]
rows = {side}
columns = {side}
spacing = 0.25
correlation = {{ law = "isotropic" }}
towards_bs = {{ law = "local_scattering", azimuth_deg = -30, elevation_deg = 0, angular_spread_deg = 4 }}
towards_surface = {{ law = "local_scattering", azimuth_deg = 35, elevation_deg = 10, angular_spread_deg = 4 }}
phase_noise = {{ law = "von_mises", concentration = 8.0 }}
[system.users]
count = 3
seen_from_surface1 = {{ azimuth_deg = [-20, 10, 45], elevation_deg = [-20, 0, 10], angular_spread_deg = 6 }}
seen_from_surface2 = {{ azimuth_deg = [-45, 0, 20], elevation_deg = [10, -10, 20], angular_spread_deg = 6 }}
[system.gains]
bs_ris1_db = 0
bs_ris2_db = 0
ris1_ris2_db = {between}
ris1_user_db = [{near}, {near}, {near}]
ris2_user_db = {near}
[transmission]
power_dbm = 0
noise_power_dbm = {noise}
csi = "perfect"
[phases]
design = "optimal"
[sweep]
axis = "power_dbm"
values = [-1, 0, 1]
quick_values = [0]
[[scheme]]
label = "base"
[plot]
x_label = "Transmit power"
x_unit = "dBm"
[[plot.panel]]
title = "rate"
metrics = ["hardening_sum_rate"]
"""


def study(path, side, noise=-30.0):
    near = -30 - 10 * np.log10(16 * side**4)
    path.write_text(SYSTEM.format(side=side, near=near, between=-10 * np.log10(side**4), noise=noise))
    return str(path)


def test_predict_prints_phases_and_rates(models, tmp_path, capsys):
    name = study(tmp_path / "mine.toml", 4)
    assert run_command(["predict", name, "--model", str(models["tiny"])]) == 0
    captured = capsys.readouterr()
    assert "predicted" in captured.out
    assert "surface 2, degrees" in captured.out
    assert captured.err == ""
    out = tmp_path / "phases.csv"
    arguments = ["predict", name, "--model", str(models["tiny-int8"]), "--bits", "1", "--out", str(out)]
    assert run_command(arguments) == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 32
    assert {abs(float(row["phase_rad"])) for row in rows} <= {0.0, np.pi}


def test_predict_warns_and_refuses(models, tmp_path, capsys):
    loud = study(tmp_path / "loud.toml", 4, noise=-90.0)
    assert run_command(["predict", loud, "--model", str(models["tiny"])]) == 0
    assert "ris: warning: the system lies outside" in capsys.readouterr().err
    large = study(tmp_path / "large.toml", 5)
    for arguments in (
        [large, "--model", str(models["tiny"])],
        [loud, "--model", "nothing"],
        [loud, "--scheme", "none"],
        [loud, "--bits", "9"],
    ):
        assert run_command(["predict", *arguments]) == 2
        assert capsys.readouterr().err.startswith("ris: ")


def test_compare_command(models, tmp_path, capsys, monkeypatch):
    """Models of the package for surfaces of another size stay out."""
    monkeypatch.setattr(comparing, "QUICK", SMALL)
    monkeypatch.chdir(tmp_path)
    arguments = ["compare", *map(str, models.values()), "--quick", "--systems", "2", "--out", str(tmp_path)]
    assert run_command(arguments) == 0
    table = capsys.readouterr().out
    assert "tiny-int8" in table
    assert "reference" not in table
    for kind in ("csv", "png", "pdf"):
        assert (tmp_path / f"compare-statistical-quick.{kind}").stat().st_size > 0


def test_names_of_models_in_a_comparison_differ(models, tmp_path, capsys):
    for name in ("tiny", "reference"):
        other = tmp_path / f"{name}.h5"
        other.write_bytes(models["tiny"].read_bytes())
        assert run_command(["compare", str(models["tiny"]), str(other), "--quick"]) == 2
        assert "different names" in capsys.readouterr().err
