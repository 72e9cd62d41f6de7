"""Study files: what they may hold, how faults are told, and the systems that come out."""

import itertools
import math
import pickle
import re
import tomllib

import numpy as np
import pytest
from small_study import TEXT, changed

import channels
from studies.build import build
from studies.cli.catalogue import FIGURES
from studies.config import load_study, parse_study
from studies.errors import Fault, StudyFileError
from studies.transmission import noise_power_dbm, power_and_noise

NOISE = 'phase_noise = { law = "von_mises", concentration = 2.0 }'
ISOTROPIC = 'correlation = { law = "isotropic" }'


def faults(text):
    with pytest.raises(StudyFileError) as caught:
        parse_study(text, "small")
    return [str(fault) for fault in caught.value.faults]


def point(text=TEXT, scheme=0, value=10):
    return parse_study(text, "small").point(scheme, value)


def test_all_faults_are_told_at_once():
    text = changed(
        ("spacing = 0.25\n" + ISOTROPIC + "\n" + NOISE, "spacing = -0.25\n" + ISOTROPIC + "\n" + NOISE),
        ("antennas = 2", "antennas = 2.5"),
        ("seed = 7", 'seed = "seven"'),
        ("power_dbm = 10", "power_dbm = nan"),
        ('x_label = "Transmit power"', 'x_lable = "Transmit power"'),
    )
    assert faults(text) == [
        "system.bs.antennas: expected a whole number, got 2.5",
        "system.surface1.spacing: expected > 0, got -0.25",
        "system.surface2.spacing: expected > 0, got -0.25",
        "transmission.power_dbm: expected a finite number, got nan",
        "seed: expected a whole number, got 'seven'",
        "plot.x_label: expected a value, got nothing",
        "plot.x_lable: unknown key; did you mean 'x_label'?",
    ]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("rows = 2", "rows = 0", "system.surface1.rows: expected >= 1, got 0"),
        ("rows = 2", "rows = true", "system.surface1.rows: expected a whole number, got True"),
        ("rows = 2", 'rows = "2"', "system.surface1.rows: expected a whole number, got '2'"),
        ("count = 2", "count = -1", "system.users.count: expected >= 1, got -1"),
        (
            'links = ["direct", "single", "double"]',
            "links = []",
            "system.links: expected at least 1 entry, got []",
        ),
        (
            'links = ["direct", "single", "double"]',
            'links = "direct"',
            "system.links: expected a list, got 'direct'",
        ),
        (
            "concentration = 2.0",
            "concentration = -1",
            "system.surface1.phase_noise.concentration: expected >= 0, got -1",
        ),
        (
            "concentration = 2.0",
            "kappa = 2",
            "system.surface1.phase_noise.concentration: expected a value, got nothing",
        ),
        (
            '{ law = "von_mises", concentration = 2.0 }',
            '{ law = "quantization", bits = 0 }',
            "system.surface1.phase_noise.bits: expected >= 1, got 0",
        ),
        (
            '"von_mises"',
            '"vonmises"',
            (
                "system.surface1.phase_noise.law: expected one of 'none', 'von_mises', 'uniform', "
                "'wrapped_normal', 'quantization', 'sum', got 'vonmises'"
            ),
        ),
        (NOISE, "phase_noise = 2", "system.surface1.phase_noise: expected a table, got 2"),
        (
            NOISE,
            "phase_noise = { concentration = 2 }",
            "system.surface1.phase_noise.law: expected a law, got nothing",
        ),
        (
            '{ law = "von_mises", concentration = 2.0 }',
            '{ law = "sum", terms = [{ law = "quantization", bit = 1 }] }',
            "system.surface1.phase_noise.terms.0.bit: unknown key; did you mean 'bits'?",
        ),
        (
            "coefficient = 0.5",
            "coefficient = 1.5",
            "system.bs.correlation.coefficient: expected <= 1, got 1.5",
        ),
        (
            "ris1_user_db = [0, -3]",
            'ris1_user_db = [0, "x"]',
            "system.gains.ris1_user_db.1: expected a number",
        ),
        ("bs_user_db = 0", 'bs_user_db = "x"', "system.gains.bs_user_db: expected a number, got 'x'"),
        (
            "ris1_user_db = [0, -3]",
            "ris1_user_db = [0, -3, -6]",
            "system.gains.ris1_user_db: expected one number or 2 (users.count), got 3",
        ),
        (
            "bs_ris1_db = 0\n",
            "",
            "system.gains.bs_ris1_db: expected a gain, as the links ['direct', 'single', 'double'] need it",
        ),
        (
            "noise_power_dbm = 0",
            "bandwidth_hz = 1e6",
            (
                "transmission: expected either noise_power_dbm, or bandwidth_hz and noise_figure_db, "
                "got bandwidth_hz"
            ),
        ),
        (
            "noise_power_dbm = 0",
            "noise_power_dbm = 0\nnoise_figure_db = 5",
            (
                "transmission: expected either noise_power_dbm, or bandwidth_hz and noise_figure_db, "
                "got noise_power_dbm and noise_figure_db"
            ),
        ),
        (
            'design = "optimal"',
            'design = "best"',
            "phases.design: expected 'optimal', 'uniform', 'random', 'steered', 'predicted'",
        ),
        (
            'design = "optimal"',
            'design = "steered"\nuser = 2',
            "phases.user: expected < 2 (system.users.count), got 2",
        ),
        ("realizations = 400", "realizations = 0", "realizations: expected >= 2, got 0"),
        ("values = [-10, 0, 10]", "values = []", "sweep.values: expected at least 1 entry, got []"),
        ("values = [-10, 0, 10]", "values = [1, 0]", "sweep.values: expected increasing numbers, got [1, 0]"),
        (
            "values = [-10, 0, 10]",
            "values = [true]",
            "sweep.values.0: expected a finite number, a text, or a list of these, got True",
        ),
        ('label = "double"', 'label = "all"', "scheme.1.label: expected a label of its own, got 'all' again"),
        (
            "set = { links",
            "set = { power_dbm = 3, links",
            "scheme.1.set.power_dbm: expected a key that the sweep of power_dbm leaves alone",
        ),
        (
            'x_unit = "dBm"',
            'panel = [{ schemes = ["none"] }]',
            "plot.panel.0.schemes: expected labels of schemes, got 'none'",
        ),
        ("seed = 7", 'citations = ["nobody1900"]', "citations.0: expected a paper that `ris cite` lists"),
        ("[plot]", "[plott]", "plott: unknown key; did you mean 'plot'?"),
    ],
)
def test_fault(old, new, fault):
    found = faults(changed((old, new)))
    assert any(line.startswith(fault) for line in found), found


def test_faults_of_schemes_name_scheme_and_value():
    text = changed(('links = ["double"]', 'links = ["triple"], "system.bs.antenas" = 3'))
    assert faults(text) == [
        (
            "system.links.0: expected 'direct', 'single', 'single1', 'single2' or 'double', got 'triple' "
            "(scheme 'double', power_dbm = -10)"
        ),
        "system.bs.antenas: unknown key; did you mean 'antennas'? (scheme 'double', power_dbm = -10)",
    ]


def test_faults_of_the_axis_are_told_for_the_value():
    text = changed(('axis = "power_dbm"', 'axis = "spacing"'))
    found = faults(text)
    assert found[0] == "system.surface1.spacing: expected > 0, got -10 (scheme 'all', spacing = -10)"
    assert any("spacing = 0)" in fault for fault in found)
    assert not any("spacing = 10)" in fault for fault in found)


def test_a_key_under_a_value_that_is_no_table():
    text = changed(("set = { links", 'set = { "transmission.power_dbm.x" = 1, links'))
    assert "transmission.power_dbm is none" in faults(text)[0]


@pytest.mark.parametrize("text", ["title = ", "x" * 10 + "=" * 3, "[a]\n[a]", "a = " + "[" * 100_000])
def test_what_is_not_toml(text):
    assert faults(text)[0].startswith("is not TOML: ")


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "nothing.toml", tmp_path, tmp_path / "binary.toml"):
        with pytest.raises(StudyFileError, match="cannot be read"):
            load_study(path)


def test_errors_travel_between_processes():
    error = StudyFileError("file", [Fault("a.b", "is wrong"), Fault("", "as a whole")])
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert str(copy) == str(error) == "file: 2 faults\n  a.b: is wrong\n  as a whole"


def test_schemes_and_values_override_the_base_system():
    study = parse_study(TEXT, "small")
    assert study.point(0, -10).transmission.power_dbm == -10
    assert study.point(0, 0).system.surface1.phase_noise.law == "von_mises"
    double = study.point(1, 0)
    assert double.system.links == ["double"]
    assert double.system.surface1.phase_noise.law == double.system.surface2.phase_noise.law == "none"
    assert study.values(quick=True) == [0, 10]
    assert (study.realizations(), study.realizations(quick=True)) == (400, 100)


def test_tables_merge_but_laws_replace():
    nested = changed(
        ("set = { links", "set = { system = { bs = { antennas = 3 }, users = { count = 1 } }, links"),
        ("ris1_user_db = [0, -3]", "ris1_user_db = 0"),
    )
    system = point(nested, scheme=1).system
    assert (system.bs.antennas, system.users.count) == (3, 1)
    assert system.bs.correlation.coefficient == 0.5
    law = changed(("set = { links", 'set = { bs_correlation = { law = "identity" }, links'))
    assert point(law, scheme=1).system.bs.correlation.law == "identity"


def test_elements_are_squares():
    text = changed(
        ('axis = "power_dbm"', 'axis = "elements"'), ("[-10, 0, 10]", "[4, 9]"), ("[0, 10]", "[4]")
    )
    system = point(text, value=9).system
    assert {system.surface1.rows, system.surface1.columns, system.surface2.rows} == {3}
    wrong = text.replace("[4, 9]", "[4, 8]")
    assert faults(wrong)[0].startswith("elements: expected a square number, as 64 for 8 x 8, got 8")


def test_noise_power_from_bandwidth_and_noise_figure():
    text = changed(("noise_power_dbm = 0", "bandwidth_hz = 20e6\nnoise_figure_db = 7"))
    expected = 10 * math.log10(1.380649e-23 * 290 * 20e6 / 1e-3) + 7
    transmission = point(text).transmission
    assert noise_power_dbm(transmission) == pytest.approx(expected, abs=1e-12)
    assert power_and_noise(transmission)[1] == pytest.approx(10 ** (expected / 10))
    assert power_and_noise(point().transmission) == (10.0, 1.0)


def test_gains_are_powers():
    system, _, _ = build(point())
    assert system.bs_ris2.gain == pytest.approx(10**-0.3)
    assert system.ris1_user.gain == pytest.approx([1, 10**-0.3])
    assert system.ris2_user.gain == pytest.approx([1, 1])


LINKS = ("direct", "single1", "single2", "double")


@pytest.mark.parametrize("links", [c for n in range(1, 5) for c in itertools.combinations(LINKS, n)])
def test_links_make_those_paths_and_no_others(links):
    text = changed(('links = ["direct", "single", "double"]', f"links = {list(links)}"))
    system, theta1, theta2 = build(point(text))
    assert (system.direct, system.single1, system.single2, system.double) == tuple(
        link in links for link in LINKS
    )
    assert (len(theta1), len(theta2)) == (system.elements1, system.elements2)


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        ('{ law = "identity" }', lambda array: np.eye(4)),
        ('{ law = "isotropic" }', channels.isotropic_correlation),
        ('{ law = "planar_isotropic" }', lambda array: channels.isotropic_correlation(array, dimensions=2)),
        (
            '{ law = "exponential", coefficient = 0.6, phase = 0.3 }',
            lambda array: np.kron(*[channels.exponential_correlation(2, 0.6 * np.exp(0.3j)).matrix] * 2),
        ),
        (
            '{ law = "local_scattering", azimuth_deg = 30, elevation_deg = -10, angular_spread_deg = 5 }',
            lambda array: channels.local_scattering_correlation(array, *np.deg2rad([30, -10, 5])),
        ),
    ],
)
def test_correlation_laws(law, expected):
    system, _, _ = build(point(changed(('{ law = "isotropic" }', law))))
    R = np.asarray(expected(channels.UniformPlanarArray(2, 2, 0.25)))
    for hop in (system.bs_ris1.right, system.ris1_ris2.left, system.ris2_user.correlation):
        np.testing.assert_allclose(hop.matrix, R, atol=1e-14)


def test_laws_towards_nodes_and_directions_of_users():
    text = changed(
        (ISOTROPIC, ISOTROPIC + '\ntowards_bs = { law = "identity" }'),
        (
            "count = 2",
            (
                "count = 2\nseen_from_surface1 = { azimuth_deg = [10, 20], angular_spread_deg = 5 }\n"
                "seen_from_bs = { azimuth_deg = 10, angular_spread_deg = 5 }"
            ),
        ),
    )
    system, _, _ = build(point(text))
    np.testing.assert_array_equal(system.bs_ris1.right.matrix, np.eye(4))
    assert not np.allclose(system.ris1_ris2.left.matrix, np.eye(4))
    array = channels.UniformPlanarArray(2, 2, 0.25)
    each = channels.local_scattering_correlation(array, np.deg2rad([10, 20]), 0, np.deg2rad(5.0))
    np.testing.assert_allclose(system.ris1_user.correlation.matrix, each.matrix, atol=1e-14)
    assert system.bs_user.correlation.matrix.shape == (2, 2)


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        ('{ law = "none" }', channels.NoNoise()),
        ('{ law = "von_mises", concentration = 3 }', channels.VonMises(3)),
        ('{ law = "uniform", half_width = 0.5 }', channels.UniformNoise(0.5)),
        ('{ law = "wrapped_normal", standard_deviation = 0.4 }', channels.WrappedNormal(0.4)),
        ('{ law = "quantization", bits = 2 }', channels.QuantizationNoise(2)),
        (
            (
                '{ law = "sum", terms = [{ law = "quantization", bits = 2 }, '
                '{ law = "uniform", half_width = 1 }] }'
            ),
            channels.QuantizationNoise(2) + channels.UniformNoise(1),
        ),
    ],
)
def test_phase_noise_laws(law, expected):
    text = TEXT.replace('{ law = "von_mises", concentration = 2.0 }', law, 1)
    system, _, _ = build(point(text))
    assert [system.phase_noise1.moment(m) for m in (1, 2)] == [expected.moment(m) for m in (1, 2)]
    assert system.phase_noise2.moment(1) == channels.VonMises(2.0).moment(1)


@pytest.mark.parametrize("design", ["optimal", "uniform", "random", "steered"])
def test_phase_designs(design):
    text = changed(('design = "optimal"', f'design = "{design}"\nbits = 2'))
    _, theta1, theta2 = build(point(text), seed=3)
    for theta in (theta1, theta2):
        np.testing.assert_allclose(theta / (np.pi / 2), np.round(theta / (np.pi / 2)), atol=1e-12)
    again = build(point(text), seed=3)
    np.testing.assert_array_equal(theta1, again[1])
    if design == "random":
        assert not np.array_equal(theta1, theta2)
        assert not np.array_equal(theta1, build(point(text), seed=4)[1])


@pytest.mark.parametrize("path", sorted(FIGURES.glob("*.toml")), ids=lambda path: path.stem)
def test_figures_are_valid_and_build(path):
    study = load_study(path)
    for scheme in range(len(study.schemes)):
        for quick in (False, True):
            system, theta1, theta2 = build(study.point(scheme, *next(study.places(quick))))
            assert len(theta1) == system.elements1
            assert len(theta2) == system.elements2
    assert not re.search(r"\b[Ff]ig(ure|\.)", study.text), "no figure of a paper is claimed"
    assert tomllib.loads(study.text)["title"] == study.settings.title


def test_the_named_figures_are_there():
    names = {path.stem for path in FIGURES.glob("*.toml")}
    assert names >= {"power", "elements", "spacing", "concentration", "bs_correlation", "phases", "bounds"}
    assert names >= {"csi", "geometry"}
