"""The page is one valid, inert document: all numbers inside as JSON, nothing outside, and no name can become markup."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from spectra.report.page.html import render_html
from spectra.report.page.record import MAX_BARS, MAX_BINS, MAX_POINTS, TOP_RANKS, _number, _numbers
from spectra.report.result import LayerResult, Report, WeightHistogram
from spectra.report.words import NOTES

NASTY = "</script><img src=x onerror=alert(1)>"
VOID = {"meta", "link", "img", "br", "input", "hr"}


def make_layer(name="block.0.kernel", size=300, seed=0, **changes):
    rng = np.random.default_rng(seed)
    values = np.sort(rng.pareto(1.7, size) + 0.01)
    counts, edges = np.histogram(rng.normal(size=5000), 200)
    tail = values[-80:]
    alpha = 1 + 80 / np.log(tail / tail[0]).sum()
    metrics = {"N": 2 * size, "M": size, "alpha": alpha, "xmin": tail[0], "D": 0.05, "sigma": (alpha - 1) / 80**0.5}
    metrics |= {"num_pl_spikes": 80, "num_evals": size, "count": 5000, "mean": 0.0, "std": 1.0, "near_zero_std": 0.08}
    fields = {
        "kind": "dense",
        "role": "",
        "depth": None,
        "shape": (2 * size, size),
        "dtype": "float32",
        "status": "success",
        "warning": "",
        "metrics": metrics,
        "histogram": WeightHistogram(edges, counts, 1, 2),
        "log_histogram": WeightHistogram(np.geomspace(1e-6, 4, 51), np.arange(50), 0, 0),
        "eigenvalues": values,
    }
    return LayerResult(name=name, **(fields | changes))


class Page(HTMLParser):
    """Tags, attributes and text of a page; complains where tags do not close."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.scripts, self.text, self.comments = [], [], [], "", ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif self.open and self.open[-1] != "style":
            self.text += data

    def handle_comment(self, data):
        self.comments += data

    def all(self, name):
        return [attrs for tag, attrs in self.tags if tag == name]


def page_of(*layers, label="model", meta=None, title="title"):
    text = render_html([Report(label, layers, meta or {})], title)
    page = Page(text)
    return text, page, json.loads(page.scripts[0])


def shown(*layers):
    """The layers as the page's data has them."""
    return page_of(*layers)[2]["reports"][0]["layers"]


def test_page_is_a_complete_document():
    text, page, data = page_of(make_layer(), title="My <model>")
    assert text.startswith("<!DOCTYPE html>")
    assert "My <model>" in page.text
    assert [name for name, _ in page.tags].count("h1") == 1
    assert "viewport" in [attrs.get("name") for attrs in page.all("meta")]
    assert data["notes"].keys() == NOTES.keys()
    assert "Permission is hereby granted" in page.comments  # uPlot's license travels with it
    text.encode("utf-8")


def test_page_refers_to_nothing_outside():
    text, page, _ = page_of(make_layer("https://example.org/x"), meta={"url": "http://example.org"})
    for _, attrs in page.tags:
        assert not {"src", "href", "srcset", "action", "style"} & attrs.keys()
        assert not [key for key in attrs if key.startswith("on")]
    for style in re.findall(r"<style>(.*?)</style>", text, re.S):
        assert "url(" not in style
        assert "@import" not in style
    for script in page.scripts[1:]:
        code = re.sub(r"/\*.*?\*/", "", script, flags=re.S)
        assert not re.search(r"https?://|\bfetch\(|XMLHttpRequest|\bimport\(|WebSocket|sendBeacon|innerHTML", code)


def test_policy_allows_the_two_scripts_by_their_hash_and_nothing_else():
    _, page, _ = page_of(make_layer())
    (policy,) = [attrs["content"] for attrs in page.all("meta") if "http-equiv" in attrs]
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in page.scripts[1:]]
    assert len(hashes) == 2
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src {allowed}"


@pytest.mark.parametrize("nasty", [NASTY, "<!--<script>", "a & b &lt; \u2028 \u2029", "{{ 7*7 }}{% raw %}", "'\"`"])
def test_markup_in_any_text_stays_text(nasty):
    layer = make_layer(nasty, kind=nasty, role=nasty, dtype=nasty, status=nasty, warning=nasty)
    layer.metrics[nasty] = nasty
    plain = Page(render_html([Report("model", (make_layer(),), {"key": "value"})], "title"))
    text, page, data = page_of(layer, label=nasty, meta={nasty: nasty, "options": {nasty: [nasty]}}, title=nasty)
    assert [tag for tag, _ in page.tags if tag not in ("div", "dt", "dd")] == [
        tag for tag, _ in plain.tags if tag not in ("div", "dt", "dd")
    ]
    embedded = text[text.index('id="data">') + len('id="data">') :].split("</script>")[0]
    assert not set("<>&\u2028\u2029") & set(embedded)
    expected = nasty.replace("\u2028", "�").replace("\u2029", "�")
    (record,) = data["reports"][0]["layers"]
    assert record["name"] == record["kind"] == record["warning"] == record["metrics"][expected] == expected
    assert expected in page.text


def test_unencodable_and_megabyte_long_names():
    name = "x" * 1_000_000 + "\ud800"
    text, _, data = page_of(make_layer(name, warning=name), label=name, meta={"k": name, name: 1}, title=name)
    assert len(text.encode("utf-8")) < 150_000
    (record,) = data["reports"][0]["layers"]
    assert len(record["name"]) == 200
    assert record["name"].startswith("xxx")
    assert "…" in record["name"]


def test_missing_numbers_are_null_and_others_keep_six_digits():
    metrics = {
        "a": float("nan"),
        "b": float("inf"),
        "c": None,
        "d": 1.23456789e-7,
        "e": 123456789,
        "f": np.float32(0.1),
    }
    metrics |= {"g": np.int64(7), "h": "gram"}
    (record,) = shown(make_layer(metrics=metrics))
    expected = {"a": None, "b": None, "c": None, "d": 1.23457e-7, "e": 123456789, "f": 0.1, "g": 7, "h": "gram"}
    assert record["metrics"] == expected
    assert record["fit"] is None


def test_small_ccdf_is_complete():
    layer = make_layer(size=50)
    (record,) = shown(layer)
    np.testing.assert_allclose(record["ccdf"]["x"], layer.eigenvalues, rtol=1e-5)
    np.testing.assert_allclose(record["ccdf"]["p"], np.arange(50, 0, -1) / 50, rtol=1e-5)


def test_large_ccdf_keeps_the_top_and_thins_the_rest():
    layer = make_layer(size=20_000)
    (record,) = shown(layer)
    x, p = np.array(record["ccdf"]["x"]), np.array(record["ccdf"]["p"])
    assert TOP_RANKS < x.size <= MAX_POINTS
    np.testing.assert_allclose(x[-TOP_RANKS:], layer.eigenvalues[-TOP_RANKS:], rtol=1e-5)
    np.testing.assert_allclose(x[0], layer.eigenvalues[0], rtol=1e-5)
    # Each P names a rank; the eigenvalue of that rank must be the point's. (Counting values ≥ the rounded x would
    # miss neighbours that differ only beyond the sixth digit.)
    below = np.rint((1 - p) * layer.eigenvalues.size).astype(int)
    np.testing.assert_allclose(layer.eigenvalues[below], x, rtol=1e-5)
    np.testing.assert_allclose(p[-TOP_RANKS:], np.arange(TOP_RANKS, 0, -1) / layer.eigenvalues.size)
    assert np.all(np.diff(x) > 0)


def test_density_histogram_and_fit():
    layer = make_layer(size=20_000)
    (record,) = shown(layer)
    edges, density = np.array(record["esd"]["edges"]), np.array(record["esd"]["density"])
    assert density.size <= MAX_BINS
    assert np.sum(np.diff(edges) * density) == pytest.approx(1, rel=1e-3)
    histogram = record["histogram"]
    assert len(histogram["counts"]) <= MAX_BARS
    assert len(histogram["edges"]) == len(histogram["counts"]) + 1
    assert sum(histogram["counts"]) == 5000
    assert histogram["outside"] == 3
    fit = record["fit"]
    assert fit["alpha"] == pytest.approx(layer.metrics["alpha"], rel=1e-5)
    assert fit["xmin"] == pytest.approx(layer.metrics["xmin"], rel=1e-5)
    assert fit["xmax"] == pytest.approx(layer.eigenvalues[-1], rel=1e-5)
    assert fit["share"] == pytest.approx(80 / 20_000)


@pytest.mark.parametrize(
    ("changes", "notes", "severity"),
    [
        ({}, [], 0),
        ({"warning": "over-trained"}, ["over-trained"], 2),
        ({"warning": "under-trained; too few"}, ["under-trained", "too few"], 2),
        ({"warning": "better: lognormal; too few"}, ["better:", "too few"], 2),
        ({"warning": "too few"}, ["too few"], 1),
        ({"warning": "not a power law"}, ["not a power law"], 2),
        ({"warning": "no fit"}, ["no fit"], 1),
        ({"warning": "something new"}, ["other"], 1),
        ({"metrics": {"num_unresolved": 3}}, ["unresolved"], 0),
        ({"metrics": {"num_spikes": 0, "rand_num_spikes": 0}}, ["no spikes"], 2),
        ({"metrics": {"num_spikes": 4, "rand_num_spikes": 1}}, ["traps"], 1),
        ({"status": "skipped", "warning": "fewer than 10 eigenvalues"}, [], 0),
        ({"status": "failed", "warning": "holds NaN"}, ["failed"], 3),
    ],
)
def test_warnings_are_explained(changes, notes, severity):
    (record,) = shown(make_layer(**changes))
    assert (record["notes"], record["severity"]) == (notes, severity)
    assert set(notes) <= NOTES.keys()


def test_summary_counts():
    layers = [
        make_layer("a", warning="too few", metrics={"alpha": 2.0}),
        make_layer("b", metrics={"alpha": 3.0}),
        make_layer("c", metrics={"alpha": 7.0}, warning="under-trained"),
        make_layer("d", status="failed", warning="broken", metrics={}, eigenvalues=None, histogram=None),
        make_layer("e", status="skipped", warning="a buffer", metrics={}, eigenvalues=None, histogram=None),
    ]
    _, page, data = page_of(*layers, meta={"seconds": 1.23456789, "options": {"conv": "pool"}})
    report = data["reports"][0]
    expected = {"layers": "5", "weights": "0", "with a spectrum": "3", "median α": "3", "median stable rank": "–"}
    assert report["summary"] == expected | {"with warnings": "2", "failed": "1"}
    assert report["verdicts"] == {"not tested": 3, "failed": 1}
    assert report["meta"] == {"seconds": "1.23457", "options": '{"conv": "pool"}'}
    assert "1.23457" in page.text
    assert [layer["empty"]["esd"] for layer in report["layers"]][3:] == ["analysis failed", "no spectrum (dense)"]


def test_several_reports_are_offered_by_buttons():
    reports = [Report(name, (make_layer(),), {}) for name in ("first", "second", "")]
    page = Page(render_html(reports, "title"))
    assert [attrs["data-report"] for attrs in page.all("button") if attrs.get("class") == "switch"] == ["0", "1", "2"]
    assert "model 3" in page.text


def test_nothing_to_show():
    assert "There is no report to show." in Page(render_html([], "title")).text
    assert shown() == []


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    "changes",
    [
        {"eigenvalues": np.zeros(4)},
        {"eigenvalues": np.empty(0)},
        {"eigenvalues": np.array([3.0])},
        {"eigenvalues": np.array([np.nan, 1.0])},
        {"eigenvalues": np.full(5, 2.0)},
        {"histogram": WeightHistogram(np.zeros(2), np.array([9]), 0, 0)},
        {"histogram": None, "log_histogram": None, "eigenvalues": None, "metrics": {}, "shape": ()},
    ],
)
def test_odd_layers(changes):
    (record,) = shown(make_layer(**changes))
    assert record["name"] == "block.0.kernel"


def noisy_layer():
    """What `--null` and `--gof` add to a layer."""
    layer = make_layer(warning="better: exponential")
    layer.metrics.update(rf=1, sigma_mp=0.01, bulk_edge=0.2, num_spikes=30, max_rand_eval=0.3, bulk_ks=0.02)
    layer.metrics.update(verdict="better: exponential", R_exponential=-2.0, p_exponential=0.03, gof_p=0.2)
    layer.families.update(power_law=(layer.metrics["alpha"],), exponential=(0.8,), lognormal=(np.nan, np.nan))
    return layer


def test_noise_and_families_come_with_the_layer():
    layer = noisy_layer()
    _, _, data = page_of(layer, make_layer("plain"))
    record, plain = data["reports"][0]["layers"]
    assert plain["bulk"] is None and plain["families"] is None
    bulk = record["bulk"]
    assert (bulk["edge"], bulk["spikes"], bulk["shuffled"]) == (0.2, 30, 0.3)
    within = layer.eigenvalues[layer.eigenvalues <= bulk["edges"][-1]]
    assert bulk["beyond"] == layer.eigenvalues.size - within.size
    area = np.sum(np.diff(bulk["edges"]) * bulk["density"])
    assert area == pytest.approx(within.size / layer.eigenvalues.size, rel=1e-4)
    share = 80 / 300
    x, p = np.array(record["families"]["x"]), np.array(record["families"]["p"]["exponential"])
    np.testing.assert_allclose(p, share * np.exp(-0.8 * (x / x[0] - 1)), rtol=2e-3)
    assert list(record["families"]["p"]) == ["exponential"]
    assert [column["key"] for column in data["columns"] if column["shown"]][:6] == [
        "name", "alpha", "sigma", "D", "num_pl_spikes", "verdict"
    ]  # fmt: skip
    assert {column["key"] for column in data["columns"]} >= {"R_exponential", "gof_p", "sigma_mp", "num_spikes"}


def test_verdicts_are_put_in_words():
    (record,) = shown(noisy_layer())
    words = " ".join(record["words"])
    assert (
        "The tail follows the family exponential significantly better than a power law (R = -2.00, p = 0.03)." in words
    )
    assert "The power law by itself is not rejected (p = 0.2)." in words
    assert "from the 80 largest of 300 eigenvalues" in words
    assert "30 eigenvalues stand beyond the edge of the noise at λ = 0.2" in words
    for verdict, expected in (
        ("power law plausible", "A power law is plausible: the test does not reject it (p = 0.2)"),
        ("not a power law", "The test rejects the power law (p = 0.2)"),
        ("too few", "too short to tell"),
        ("not tested", "--gof 1000 does"),
    ):
        layer = noisy_layer()
        layer.metrics["verdict"] = verdict
        (record,) = shown(layer)
        assert any(expected in sentence for sentence in record["words"]), verdict


def test_the_model_is_summed_up_in_words():
    layers = [noisy_layer() for _ in range(3)] + [
        make_layer(warning="over-trained", metrics={"alpha": 1.5, "num_spikes": 0})
    ]
    layers.append(make_layer(status="failed", warning="NaN", metrics={}, eigenvalues=None))
    for layer, alpha in zip(layers, (2.0, 3.0, 4.0), strict=False):
        layer.metrics["alpha"] = alpha
    (report,) = page_of(*layers)[2]["reports"]
    words = " ".join(report["words"])
    assert (
        "5 layers with 15,000 weights. 4 of them are matrices with a spectrum, 4 with a power-law fit; "
        "the analysis of 1 layer failed." in words
    )
    assert "3 are rejected or better described otherwise, 1 was not tested" in words
    assert "The median α is 2.5, half of them between 1.88 and 3.25; 1 lies below 2 (over-trained)." in words
    assert "90 of 900 eigenvalues stand out of the noise; 1 layer cannot be told from noise." in words


def test_rounding_many_numbers_is_rounding_each():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(2000) * 10 ** rng.uniform(-30, 30, 2000)
    values = np.concatenate([values, [0, np.nan, np.inf, 1e-310, 1e300, 0.1, 123456789.0]])
    assert _numbers(values) == [_number(value) for value in values.tolist()]
    assert _numbers(np.array([3, 1234567])) == [3, 1234570]


def test_text_stands_out_from_its_ground_in_both_themes():
    """A contrast of 4.5 or more, as WCAG 2.2 asks of text (criterion 1.4.3)."""
    style = re.search(r"<style>(.*?)</style>", page_of(make_layer())[0], re.S)[1]
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in re.findall(r"scheme:(.*?)\}", style, re.S)
    )
    assert light.keys() == dark.keys() and len(light) > 20

    def luminance(colour):
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    pairs = [(text, ground) for text in ("ink", "quiet", "accent") for ground in ("paper", "panel", "hover")]
    pairs += [("warn", "warn-paper"), ("bad", "bad-paper"), ("ink", "warn-paper"), ("ink", "bad-paper")]
    for theme in (light, dark):
        for text, ground in pairs:
            low, high = sorted((luminance(theme[text]), luminance(theme[ground])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)


def test_rendering_does_not_load_matplotlib():
    code = "import sys; from spectra.report.page.html import render_html; render_html([], ''); "
    code += "print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False"
