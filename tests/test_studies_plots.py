"""Pictures: what is drawn where, and the files."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.container import ErrorbarContainer
from scipy.stats import norm
from small_study import TEXT, changed

from studies import plots
from studies.config import parse_study
from studies.run import run_study

PANELS = """
[[plot.panel]]
title = "Rates"
metrics = ["hardening_sum_rate", "ergodic_sum_rate"]

[[plot.panel]]
metrics = ["mean_gain"]
schemes = ["double"]
"""


@pytest.fixture(scope="module")
def simple():
    return run_study(parse_study(TEXT, "small"), workers=1)


@pytest.fixture(scope="module")
def panels():
    return run_study(parse_study(TEXT + PANELS, "small"), workers=1)


def lines(axes):
    """The closed forms: lines that belong to no error bar."""
    return [line for line in axes.lines if line.get_marker() == "None" and len(line.get_xdata()) == 3]


def bars(axes):
    return [container for container in axes.containers if isinstance(container, ErrorbarContainer)]


def ends(container):
    (collection,) = container.lines[2]
    return np.array([segment[:, 1] for segment in collection.get_segments()])


def test_lines_are_closed_forms_and_markers_the_simulation(simple):
    (axes,) = plots.draw(simple).axes
    assert len(lines(axes)) == len(bars(axes)) == 2
    for scheme, (line, bar) in enumerate(zip(lines(axes), bars(axes), strict=True)):
        name = "hardening_sum_rate"
        np.testing.assert_array_equal(line.get_xdata(), [-10, 0, 10])
        np.testing.assert_array_equal(line.get_ydata(), simple.data[name, "closed_form"][scheme])
        value, error = (simple.data[name, part][scheme] for part in ("simulated", "standard_error"))
        np.testing.assert_array_equal(bar.lines[0].get_ydata(), value)
        reach = norm.ppf(0.995) * error
        np.testing.assert_allclose(ends(bar), np.stack([value - reach, value + reach], axis=1), rtol=1e-12)


def test_labels_have_units(simple):
    figure = plots.draw(simple)
    (axes,) = figure.axes
    assert axes.get_xlabel() == "Transmit power (dBm)"
    assert axes.get_ylabel() == "Sum rate, hardening bound (bit/s/Hz)"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["all", "double"]
    assert "99 %" in legend.get_title().get_text()


def test_panels(panels):
    figure = plots.draw(panels)
    rates, gains = figure.axes
    assert rates.get_title() == "Rates"
    assert rates.get_ylabel() == "Sum rate (bit/s/Hz)"
    assert len(lines(rates)) == 2, "the ergodic rate has no closed form"
    assert len(bars(rates)) == 4
    assert gains.get_ylabel() == "Mean gain of user 1 (dB)"
    (line,) = lines(gains)
    closed = panels.data["mean_gain", "closed_form"][1, :, 0]
    np.testing.assert_allclose(line.get_ydata(), 10 * np.log10(closed), rtol=1e-14)
    (bar,) = bars(gains)
    value, error = (panels.data["mean_gain", part][1, :, 0] for part in ("simulated", "standard_error"))
    reach = norm.ppf(0.995) * error
    expected = 10 * np.log10(np.stack([value - reach, value + reach], axis=1))
    np.testing.assert_allclose(ends(bar), expected, rtol=1e-10)
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert "ergodic rate (simulation only), all" in labels


def test_the_legend_covers_no_axes(panels):
    figure = plots.draw(panels)
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    for axes in figure.axes:
        assert not legend.overlaps(axes.get_window_extent())
    assert legend.x0 >= 0
    assert legend.x1 <= figure.bbox.x1


def test_curves_differ_without_colour():
    styles = list(zip(plots.DASHES, plots.MARKERS, strict=False))
    assert len({str(style) for style in styles}) == len(styles) >= 7
    assert len(set(plots.MARKERS)) == len(plots.MARKERS)
    lightness = [np.dot([0.2126, 0.7152, 0.0722], to_rgb(colour)) for colour in plots.COLOURS]
    assert min(np.abs(np.diff(lightness[:6]))) > 0.02
    assert max(lightness) < 0.7, "legible on white"


def test_logarithmic_axes_have_a_tick_at_each_value():
    text = changed(
        ('axis = "power_dbm"', 'axis = "concentration"'),
        ("[-10, 0, 10]", "[0.5, 2, 8]"),
        ("quick_values = [0, 10]", ""),
        ('label = "double"\nset = { links = ["double"], phase_noise = { law = "none" } }', 'label = "same"'),
        ('x_unit = "dBm"', 'x_scale = "log"'),
    )
    (axes,) = plots.draw(run_study(parse_study(text, "small"), workers=1)).axes
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.5", "2", "8"]
    assert axes.get_xlabel() == "Transmit power"


def test_files(simple, tmp_path):
    png, pdf = tmp_path / "a.png", tmp_path / "a.pdf"
    plots.save(simple, png, pdf)
    content = png.read_bytes()
    assert content.startswith(b"\x89PNG")
    width = int.from_bytes(content[16:20], "big")
    assert width >= 3.4 * 300
    assert pdf.read_bytes().startswith(b"%PDF")
    first = pdf.read_bytes()
    plots.save(simple, png, pdf)
    assert pdf.read_bytes() == first
    assert png.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf", "a.png"]
