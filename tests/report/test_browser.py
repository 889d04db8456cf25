"""The page in a real browser: it opens from a file without a network, and sorts, filters, draws and explains.

Needs Chromium on the PATH and Playwright (extra `dev`), which brings no browser of its own here. Without them the tests
are skipped, unless SPECTRA_REQUIRE_BROWSER=1 says that they must run.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from page_browser import Tab, chromium
from page_models import COUNTS, EDGES, NASTY, large, network, oddities

from spectra.report.curves import bulk_law, ccdf
from spectra.report.depth import by_depth, heat_map
from spectra.report.save import save_html


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "a net.html"
    save_html([network()], path)
    return path


@pytest.fixture(scope="module")
def opened(browser, file):
    return Tab(browser, file)


@pytest.fixture
def tab(opened):
    """The page of the network as it was when it was opened."""
    opened.page.reload()
    yield opened
    assert opened.trouble == []


REPORT = network()
BY_NAME = {layer.name: layer for layer in REPORT}
SPECTRAL = [f"h.{i}.mlp.{role}" for i in range(4) for role in ("up", "down")]


def numbers(name: str, key: str) -> float:
    return BY_NAME[name].metrics[key]


# ---- the model at a glance ------------------------------------------------------------------------------------------


def test_the_summary_says_what_the_model_is(tab):
    text = tab.page.locator("section.report").inner_text()
    assert "11 layers with 160,000 weights" in text and "The median α is" in text and "160,000" in text
    assert "How it was made" in text and tab.page.locator("details.meta").get_attribute("open") is None
    parts = tab.js("[...document.querySelectorAll('.parts .entry')].map((node) => node.textContent)")
    assert parts == [
        "5 power law plausible",
        "1 better described by another family",
        "1 too few",
        "1 not tested",
        "1 failed",
    ]
    widths = tab.js("[...document.querySelectorAll('.bar span')].map((node) => node.getBoundingClientRect().width)")
    assert widths[0] == pytest.approx(5 * widths[1], rel=0.02)


def test_a_verdict_chooses_its_layers(tab):
    part = tab.page.locator('[data-outcome="too few"]')
    part.click()
    assert tab.rows() == ["h.0.mlp.down"] and part.get_attribute("aria-pressed") == "true"
    part.click()
    assert tab.rows() == [*SPECTRAL, "head.kernel"] and part.get_attribute("aria-pressed") == "false"


def test_charts_by_depth_draw_each_role(tab):
    places, up, down = tab.data("#alpha-chart")
    shown = by_depth(REPORT)
    assert places == list(range(len(shown.layers)))
    for curve, names in ((up, SPECTRAL[0::2]), (down, SPECTRAL[1::2])):
        np.testing.assert_allclose([v for v in curve if v is not None], [numbers(n, "alpha") for n in names], rtol=1e-5)
    entries = tab.page.locator("#alpha-legend .entry")
    assert entries.all_inner_texts() == ["up", "down"]
    entries.first.click()
    for chart in ("#alpha-chart", "#metric-chart"):
        assert tab.js("(chart) => document.querySelector(chart).plot.series.map((s) => s.show)", chart)[1:] == [
            False,
            True,
        ]
    tab.page.locator("#metric").select_option("stable_rank")
    assert tab.data("#metric-chart")[2][1] == pytest.approx(numbers("h.0.mlp.down", "stable_rank"))


def test_a_point_tells_its_layer_and_opens_it(tab):
    box = tab.show("#alpha-chart .u-over")
    tab.page.mouse.move(box["x"] + box["width"] * 3.5 / 8, box["y"] + 60)
    assert tab.tip().splitlines() == ["h.1.mlp.down", "α = 9.50 ± 0.200", "under-trained, no spikes"]
    tab.page.mouse.click(box["x"] + box["width"] * 3.5 / 8, box["y"] + 60)
    assert tab.js("document.activeElement.title") == "h.1.mlp.down"
    assert tab.page.locator("tr.details").count() == 1


def test_the_heat_map_shows_every_value(tab):
    heat = heat_map(by_depth(REPORT).layers)
    names = tab.page.locator(".heat .names button").all_inner_texts()
    assert len(names) == len(heat.metrics) and names[:3] == ["α", "σ", "D"]
    row, at = heat.metrics.index("kurtosis"), 5
    canvas = tab.page.locator(".heat canvas")
    box = tab.show(".heat canvas")
    x, y = (at + 0.5) * box["width"] / 8, (row + 0.5) * box["height"] / len(names)
    canvas.hover(position={"x": x, "y": y})
    assert tab.tip().splitlines()[:2] == ["h.2.mlp.down", "kurtosis = 0.500"]
    pixel = tab.js(
        """([x, y]) => { const c = document.querySelector('.heat canvas');
        return [...c.getContext('2d').getImageData(x * devicePixelRatio, y * devicePixelRatio, 1, 1).data]; }""",
        [x, y],
    )
    expected = np.multiply(matplotlib.colormaps["viridis"](heat.shades[row, at])[:3], 255)
    np.testing.assert_allclose(pixel[:3], expected, atol=6)
    canvas.focus()
    for key in ("ArrowRight", "ArrowDown"):
        tab.page.keyboard.press(key)
    assert tab.tip().splitlines()[0] == "h.3.mlp.up"
    tab.page.keyboard.press("Enter")
    assert tab.js("document.activeElement.title") == "h.3.mlp.up"
    tab.page.locator(".heat .names button", has_text="Gini").click()
    assert tab.page.locator("#metric").input_value() == "gini"


# ---- the table ------------------------------------------------------------------------------------------------------


def test_sorting_goes_up_down_and_back(tab):
    head = tab.page.locator('th[data-key="alpha"]')
    order = sorted(SPECTRAL, key=lambda name: numbers(name, "alpha"))
    for expected, said in ((order, "ascending"), (order[::-1], "descending"), (SPECTRAL, None)):
        head.locator("button").click()
        assert tab.rows() == [*expected, "head.kernel"]  # a layer without a number comes last either way
        assert head.get_attribute("aria-sort") == said
    tab.page.locator('th[data-key="verdict"] button').click()
    assert tab.column("verdict")[:2] == ["better: exponential", "not tested"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("mlp.up", SPECTRAL[0::2]),
        ("H.1 UP", ["h.1.mlp.up"]),
        ("under-trained", ["h.1.mlp.down"]),
        ("alpha>9", ["h.1.mlp.down"]),
        ("α>=9.5 tail=80", ["h.1.mlp.down"]),
        ("num_pl_spikes<50", ["h.0.mlp.down"]),
        ("nothing>3", []),
        ("nan", ["head.kernel"]),
    ],
)
def test_finding(tab, words, expected):
    tab.page.locator("#find").fill(words)
    assert tab.rows() == expected
    assert tab.page.locator("#rows").inner_text().startswith("No layer matches.") == (not expected)


def test_layers_without_a_spectrum_are_a_choice_away(tab):
    assert tab.page.locator("#shown").inner_text() == "9 of 11 layers · 2 more with the above, show all"
    tab.page.locator("#shown button").click()
    assert len(tab.rows()) == 11 and tab.page.locator("#shown").inner_text() == "11 of 11 layers"
    tab.page.locator("#kind").select_option("bias")
    assert tab.rows() == ["h.0.mlp.bias", "h.1.mlp.bias"]
    tab.page.locator("#kind").select_option("")
    for choice, expected in (("warned", [*SPECTRAL[1:4], "head.kernel"]), ("sound", [SPECTRAL[0], *SPECTRAL[4:]])):
        tab.page.locator("#worth").select_option(choice)
        assert tab.rows() == expected


def test_columns_are_the_reader_s_choice(tab):
    heads = tab.page.locator("#head th").all_inner_texts()
    assert heads[:3] == ["layer", "α", "σ"] and "Gini" not in heads
    tab.page.locator("#column-choice summary").click()
    inside = "({left, right}) => left >= 0 && right <= innerWidth"
    for width in (390, 1000, 1400):
        tab.page.set_viewport_size({"width": width, "height": 900})
        tab.until(f"({inside})(document.getElementById('column-menu').getBoundingClientRect())")
    tab.page.locator('[data-column="gini"]').check()
    tab.page.locator('[data-column="sigma"]').uncheck()
    heads = tab.page.locator("#head th").all_inner_texts()
    assert "Gini" in heads and "σ" not in heads and set(tab.column("gini")) == {"0.410", "–"}
    tab.page.locator("h1").click()
    assert not tab.page.locator("#column-menu").is_visible()


# ---- a layer --------------------------------------------------------------------------------------------------------


def test_a_layer_opens_to_its_charts_and_closes(tab):
    layer = BY_NAME["h.0.mlp.up"]
    panel = tab.open(layer.name)
    charts = panel.locator(".chart")
    assert charts.count() == 3 and panel.locator("canvas").count() == 3
    x, counts, _ = tab.data(".panel figure:nth-child(1) .chart")
    bins = np.searchsorted(EDGES, np.array(x) + 1e-4, "right") - 1  # edges are rounded to six digits
    inside = bins < COUNTS.size
    assert np.unique(bins[inside]).size == COUNTS.size
    assert [v or 0 for v, i in zip(counts, inside, strict=True) if i] == COUNTS[bins[inside]].tolist()
    x, density, fitted, noise = tab.data(".panel figure:nth-child(2) .chart")
    xmin, alpha = layer.metrics["xmin"], layer.metrics["alpha"]
    start = next(i for i, v in enumerate(fitted) if v is not None)
    assert x[start] == pytest.approx(xmin, rel=1e-5)
    assert fitted[start] == pytest.approx(80 / 300 * (alpha - 1) / xmin, rel=1e-4)
    law = bulk_law(layer, 48)
    np.testing.assert_allclose([v for v in noise if v is not None], law.density, rtol=1e-3)
    assert sum(v is not None for v in density) > 20
    panel.locator("figure:nth-child(3) button", has_text="all").click()
    x, p, line, exponential = tab.data(".panel figure:nth-child(3) .chart")
    found = [(v, q) for v, q in zip(x, p, strict=True) if q is not None]
    np.testing.assert_allclose(np.transpose(found), ccdf(layer.eigenvalues), rtol=1e-4)
    at = next(i for i, v in enumerate(exponential) if v is not None)
    assert x[at] == pytest.approx(xmin, rel=1e-5)
    assert exponential[at] == pytest.approx(80 / 300, rel=1e-3) and line[at] == pytest.approx(80 / 300, rel=1e-3)
    tab.page.locator(f'.opener[title="{layer.name}"]').click()
    assert tab.page.locator("tr.details").count() == 0


def test_every_chart_of_a_layer_puts_ink_on_its_canvas(tab):
    panel = tab.open("h.0.mlp.up")
    painted = """(canvas) => { const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        let n = 0; for (let i = 3; i < data.length; i += 4) n += data[i] > 0; return n / (data.length / 4); }"""
    seen = set()
    for i, modes in enumerate((("linear", "log", "log |w|"), ("log", "bulk"), ("all", "tail"))):
        figure = panel.locator("figure").nth(i)
        assert figure.locator(".choice button").all_inner_texts() == list(modes)
        for mode in modes:
            figure.locator(".choice button", has_text=re.compile(f"^{re.escape(mode)}$")).click()
            assert figure.locator(".choice [aria-pressed=true]").inner_text() == mode
            share = figure.locator("canvas").evaluate(painted)
            assert 0.02 < share < 0.9, mode
            seen.add(round(share, 6))
    assert len(seen) == 7  # each is drawn differently
    shown = panel.locator("figure").nth(2).locator(".u-legend tr").all_inner_texts()
    assert [text.split("\t")[0].strip() for text in shown] == ["λ", "eigenvalues", "power law", "exponential"]


def test_the_reasons_for_warnings_are_in_words(tab):
    panel = tab.open("h.1.mlp.up")
    text = panel.inner_text()
    assert "Better described by another family: the likelihood ratio prefers it" in text
    assert "Too few: fewer than 50 eigenvalues" in text
    assert (
        "The tail follows the family exponential significantly better than a power law (R = -2.50, p = 0.01)." in text
    )
    assert "40 eigenvalues stand beyond the edge of the noise at λ = 0.9" in text
    assert panel.locator("table", has_text="Other families").locator("tbody tr").inner_text().split("\t")[-1] == "worse"
    assert "positive weights\t5.25" in panel.locator("table", has_text="Tails of the weights").inner_text()
    panel.locator("details.all summary").click()
    metrics = dict(
        zip(panel.locator(".all dt").all_inner_texts(), panel.locator(".all dd").all_inner_texts(), strict=True)
    )
    assert metrics.keys() == BY_NAME["h.1.mlp.up"].metrics.keys() and metrics["num_evals"] == "300"
    failed = tab.open("head.kernel").inner_text()
    assert "head.kernel: holds NaN at [3, 4]" in failed and failed.count("analysis failed") == 3


def test_light_and_dark(tab):
    def paper() -> float:
        return sum(map(int, re.findall(r"\d+", tab.js("getComputedStyle(document.body).backgroundColor"))[:3])) / 765

    before = tab.js("document.querySelector('#alpha-chart canvas').toDataURL()")
    assert paper() > 0.9
    tab.page.locator("#theme").click()
    assert paper() < 0.2 and tab.page.locator("#theme").inner_text() == "Light"
    assert tab.js("document.querySelector('#alpha-chart canvas').toDataURL()") != before
    tab.page.locator("#theme").click()
    tab.js("localStorage.clear()")
    tab.page.emulate_media(color_scheme="dark")
    tab.page.reload()
    assert paper() < 0.2
    tab.page.emulate_media(color_scheme="light")


def test_a_phone_shows_all_without_moving_sideways(tab):
    tab.page.set_viewport_size({"width": 390, "height": 844})
    tab.page.reload()
    panel = tab.open("h.0.mlp.up")
    assert tab.js("document.documentElement.scrollWidth") <= 390
    for node in ("#alpha-chart", ".heat canvas", ".panel", ".panel canvas"):
        box = tab.page.locator(node).first.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390, node
    lefts = {round(figure.bounding_box()["x"]) for figure in panel.locator("figure").all()}
    assert len(lefts) == 1  # the charts stand below each other
    tab.page.set_viewport_size({"width": 1400, "height": 900})


# ---- what may be wrong with a model, and how large it may be --------------------------------------------------------


def test_odd_models_in_one_page(browser, tmp_path):
    save_html(oddities(), tmp_path / "odd.html")
    tab = Tab(browser, tmp_path / "odd.html")
    assert tab.js("document.querySelectorAll('img').length") == 0
    for opener in tab.page.locator(".opener").all():
        opener.click()
    panels = tab.page.locator(".panel").all_inner_texts()
    assert len(panels) == 7 and NASTY in panels[0] and "all eigenvalues are zero" in panels[2]
    assert tab.js("document.documentElement.scrollWidth") <= 1400
    switch = tab.page.locator(".switch")
    assert switch.all_inner_texts() == [NASTY, "no layers", "all failed"]
    switch.nth(1).click()
    assert "This model has no layers." in tab.page.locator("#rows").inner_text()
    assert not tab.page.locator("#by-depth").is_visible() and not tab.page.locator("#verdicts").is_visible()
    switch.nth(2).click()
    assert (
        tab.rows() == ["bad.0", "bad.1"]
        and "no layer has a power-law fit" in tab.page.locator("#by-depth").inner_text()
    )
    tab.open("bad.0")
    switch.nth(0).click()
    assert len(tab.rows()) == 7 and tab.trouble == []
    tab.context.close()


@pytest.fixture(scope="module")
def large_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.html"
    save_html([large()], path)
    return path


def test_five_hundred_layers_are_under_15_megabytes(large_file):
    assert 5e6 < large_file.stat().st_size < 15e6


def test_five_hundred_layers_load_in_under_3_seconds(browser, large_file):
    tab = Tab(browser, large_file)
    for _ in range(3):
        wall, own = tab.reload_seconds()
        if wall < 3:
            break
    assert len(tab.rows()) == 500 and tab.trouble == []
    tab.context.close()
    print(f"loaded in {wall:.2f} s, of which the page computed {own:.2f} s; {large_file.stat().st_size / 1e6:.1f} MB")
    assert own < 3
    # On a machine with more to do than it has cores, the wait says nothing of the page.
    assert wall < 3 or os.getloadavg()[0] > 2 * os.cpu_count()
