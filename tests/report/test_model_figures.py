"""The figures of a network show its layers where they stand, with the numbers they have."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from spectra.errors import InputError, OutputError
from spectra.report.curves import network_order
from spectra.report.depth import HEAT, by_depth, heat_map
from spectra.report.figures import (
    GRID_KINDS,
    MODEL_KINDS,
    plot_depth,
    plot_grid,
    plot_heat_map,
    plot_p_values,
    plot_report,
    save_figure,
    save_pages,
)
from spectra.report.glossary import GROUPS, term
from spectra.report.result import LayerResult, Report, WeightHistogram

RNG = np.random.default_rng(2)


def layer_of(name, metrics=None, values=True, **changes):
    """A layer with some eigenvalues and weights; its metrics are what a test says."""
    evals = np.sort(RNG.pareto(2, 40) + 1) if values else None
    counts, edges = np.histogram(RNG.standard_normal(200), 9)
    fields = {"kind": "dense", "role": "", "depth": None, "shape": (40, 40), "dtype": "float32", "status": "success"}
    fields |= {"warning": "", "histogram": WeightHistogram(edges, counts, 0, 0), "eigenvalues": evals}
    return LayerResult(name=name, metrics=metrics or {}, **(fields | changes))


def transformer(blocks=3):
    """Roles in every block, an embedding before them and a bias in each."""
    layers = [layer_of("embed", {"alpha": 2.0, "sigma": 0.5}, kind="embedding")]
    for i in range(blocks):
        for n, role in enumerate(("query", "key", "up")):
            metrics = {"alpha": 3.0 + i + 0.1 * n, "sigma": 0.25, "near_zero_std": 0.1 * n}
            layers.append(layer_of(f"h.{i}.{role}", metrics, role=role, depth=i))
        layers.append(layer_of(f"h.{i}.bias", values=False, kind="bias", depth=i))
    return Report("net", tuple(layers))


def words(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def drawn(ax):
    """Points of every line that has some, by label; matplotlib names those without a label itself."""
    return {
        str(line.get_label()): np.asarray(line.get_data(), float) for line in ax.get_lines() if len(line.get_xdata())
    }


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_layers_stand_in_network_order_and_biases_have_no_place():
    names = ["embed", "h.0.w", "h.10.w", "h.2.w", "head", "h.0.b"]
    depths = [None, 0, 10, 2, None, 0]
    layers = [
        layer_of(name, {"alpha": float(i + 2)}, name != "h.0.b", depth=d, kind="dense" if name != "h.0.b" else "bias")
        for i, (name, d) in enumerate(zip(names, depths, strict=True))
    ]
    layers[-1] = layer_of("h.0.b", values=False, kind="bias", depth=0)
    assert [layer.name for layer in network_order(layers)] == ["embed", "h.0.w", "h.0.b", "h.2.w", "h.10.w", "head"]
    figure = plot_depth(Report("model", tuple(layers)), ("alpha", "gini"))
    figure.canvas.draw()
    x, alpha = drawn(figure.axes[0])["dense"]
    np.testing.assert_array_equal(x, range(5))
    np.testing.assert_array_equal(alpha, [2, 3, 5, 4, 6])
    assert words(figure) == ["no layer has gini"]


def test_each_role_is_a_line_of_its_own_and_blocks_are_ticks():
    depth = by_depth(transformer())
    assert depth.groups == {"embedding": [0], "query": [1, 4, 7], "key": [2, 5, 8], "up": [3, 6, 9]}
    assert depth.blocks == [(1, 0), (4, 1), (7, 2)]
    figure = plot_depth(transformer())
    alpha, sparsity = figure.axes
    for name, at in depth.groups.items():
        np.testing.assert_array_equal(drawn(alpha)[name], [at, [depth.layers[i].metrics["alpha"] for i in at]])
    colours = [line.get_color() for line in alpha.get_lines() if line.get_label() in depth.groups]
    assert len(set(colours)) == 4
    assert [bar.get_segments()[0][:, 1].tolist() for bar in alpha.collections][1] == [2.75, 3.25]  # query: 3 ± sigma
    assert labels(alpha) == ["embedding", "query", "key", "up", "2 ≤ α ≤ 6"] and labels(sparsity) == ["Gaussian"]
    assert [tick.get_text() for tick in sparsity.get_xticklabels()] == ["0", "1", "2"]
    np.testing.assert_array_equal(sparsity.get_xticks(), [1, 4, 7])
    assert (alpha.get_ylabel(), sparsity.get_ylabel()) == ("power-law exponent α", "share of |w| < 0.1 std")
    assert sparsity.get_xlabel() == "layer in network order, ticks at its blocks"


def test_more_roles_than_colours_share_the_last():
    counts = (4, 4, 3, 3, 2, 2, 1, 1)
    layers = [layer_of(f"{r}.{i}", {"alpha": 3.0}, role=f"role{r}") for r, n in enumerate(counts) for i in range(n)]
    groups = by_depth(Report("net", tuple(layers))).groups
    assert list(groups) == ["role0", "role1", "role2", "role3", "role4", "role5", "other"]
    assert groups["other"] == [18, 19]
    (ax,) = plot_depth(Report("net", tuple(layers)), ("alpha",)).axes
    assert len({(line.get_color(), line.get_marker()) for line in ax.get_lines() if line.get_label() in groups}) == 7


def test_layers_with_a_warning_are_hollow_and_wild_exponents_take_a_log_axis():
    layers = [layer_of(f"l{i}", {"alpha": a}, warning=w) for i, (a, w) in enumerate([(3, ""), (90, "too few")])]
    (ax,) = plot_depth(Report("model", tuple(layers)), ("alpha",)).axes
    hollow = [line for line in ax.get_lines() if line.get_markerfacecolor() == "white" and len(line.get_xdata())]
    assert [line.get_xydata().tolist() for line in hollow] == [[[1, 90]]]
    assert ax.get_yscale() == "log" and "hollow: with a warning" in labels(ax)


def test_a_network_without_anything():
    for report in (Report("empty", ()), Report("biases", (layer_of("b", values=False),))):
        for kind in (*MODEL_KINDS, *GRID_KINDS):
            figure = plot_report(report, kind)
            figure.canvas.draw()
            assert words(figure) or (kind == "histograms" and len(report)), kind


def test_heat_map_holds_every_value_between_the_row_s_ends():
    report = transformer()
    figure = plot_heat_map(report, ("alpha", "near_zero_std", "gini"))
    figure.canvas.draw()
    (mesh,) = [c for c in figure.axes[0].collections if c.get_array() is not None and c.get_array().size == 20]
    shades = np.ma.filled(mesh.get_array(), np.nan).reshape(2, 10)
    alphas = np.array([layer.metrics["alpha"] for layer in by_depth(report).layers])
    np.testing.assert_allclose(shades[0], (alphas - 2) / (5.2 - 2))
    assert np.isnan(shades[1, 0]) and shades[1].tolist()[1:4] == [0.0, 0.5, 1.0]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["α", "near zero"]
    (beside,) = figure.axes[0].child_axes
    assert [tick.get_text() for tick in beside.get_yticklabels()] == ["2 … 5.2", "0 … 0.2"]
    np.testing.assert_array_equal(figure.axes[0].get_xticks(), [1, 4, 7])


@pytest.mark.parametrize(
    ("values", "scale", "shades"),
    [
        ([1.0, 2.0, 5.0], "linear", [0, 0.25, 1]),
        ([1.0, 10.0, 100.0], "log", [0, 0.5, 1]),
        ([-1.0, 1.0, 500.0], "asinh", [0, None, 1]),
        ([0.0, 0.0, 7.0], "linear", [0, 0, 1]),
        ([3.0, None, 3.0], "linear", [0.5, float("nan"), 0.5]),
    ],
)
def test_rows_of_the_heat_map_choose_a_scale_that_shows_them(values, scale, shades):
    heat = heat_map([layer_of(str(i), {"D": value}) for i, value in enumerate(values)], ("D",))
    assert heat.scales == [scale]
    for found, expected in zip(heat.shades[0], shades, strict=True):
        assert expected is None or found == pytest.approx(expected, nan_ok=True)


def test_grid_draws_each_layer_and_names_the_curves_once():
    report = transformer()
    figure = plot_grid(report, "ccdf", columns=4)
    figure.canvas.draw()
    assert len(figure.axes) == 10 and all(ax.get_legend() is None for ax in figure.axes)
    for ax, layer in zip(figure.axes, by_depth(report).layers, strict=True):
        assert ax.get_title("left").startswith(layer.name)
        np.testing.assert_array_equal(drawn(ax)["eigenvalues"][0], layer.eigenvalues)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["eigenvalues", "no power-law fit"]
    assert [bool(ax.get_ylabel()) for ax in figure.axes] == [i % 4 == 0 for i in range(10)]
    assert [bool(ax.get_xlabel()) for ax in figure.axes] == [i >= 6 for i in range(10)]


def test_grid_of_chosen_layers_and_of_too_many():
    report = transformer()
    assert [ax.get_title("left")[:5] for ax in plot_grid(report, "esd", ["h.1.key", "embed"]).axes] == [
        "h.1.k",
        "embed",
    ]
    many = Report("net", tuple(layer_of(f"l{i}") for i in range(90)))
    figure = plot_grid(many, "ccdf")
    assert len(figure.axes) == 40 and figure.get_suptitle() == "40 of 90 layers, evenly chosen"
    assert figure.axes[0].get_title("left") == "l0" and figure.axes[-1].get_title("left") == "l89"


def test_wrong_arguments_are_named():
    report = transformer()
    for call, words_ in (
        (lambda: plot_grid(report, "pdf"), "unknown kind of figure 'pdf': choose histogram"),
        (lambda: plot_grid(report, "esd", ["h.1.kex"]), "did you mean"),
        (lambda: plot_grid(report, columns=0), "columns=0"),
        (lambda: plot_depth(report, ()), "metrics is empty"),
        (lambda: plot_depth(report, ("alpha",), Figure().subplots(2)), "1 metrics needs 1 axes, not 2"),
        (lambda: plot_report(report, "pie"), "choose alpha, sparsity, heatmap, p-values, histograms"),
    ):
        with pytest.raises(InputError, match=words_):
            call()


def test_the_report_draws_itself(tmp_path):
    report = transformer()
    axes = Figure().subplots(1, 2)
    assert report.plot_alpha(axes[0]) is axes[0].figure and "query" in drawn(axes[0])
    assert report.plot_heat_map(ax=axes[1]) is axes[1].figure
    assert [ax.get_ylabel() for ax in report.plot_sparsity().axes] == [
        term(m).axis for m in ("near_zero_std", "zero_fraction", "hoyer")
    ]
    assert len(report.plot_depth(["D"]).axes) == len(report.plot_p_values().axes) == 1
    assert len(report.plot_grid("xmin", ["embed"]).axes) == 1
    assert report.plot_heat_map(["alpha"]).axes[0].get_yticklabels()[0].get_text() == "α"
    for suffix, begin in ((".pdf", b"%PDF"), (".png", b"\x89PNG"), (".svg", b"<?xml")):
        save_figure(report.plot_alpha(), tmp_path / f"alpha{suffix}")
        assert (tmp_path / f"alpha{suffix}").read_bytes().startswith(begin)
    save_pages([report.plot_alpha(), report.plot_grid("xmin", ["embed"])], tmp_path / "both.pdf")
    assert (tmp_path / "both.pdf").read_bytes().count(b"/Type /Page ") == 2
    with pytest.raises(OutputError, match=r"unknown output format '\.png'; use \.pdf"):
        save_pages([report.plot_alpha()], tmp_path / "both.png")


def test_every_column_has_a_name_a_unit_and_a_meaning():
    known = {*HEAT, "right_alpha", "left_p_student_t", "R_lognormal", "q05", "something_new"}
    assert {term(key).group for key in known} <= set(GROUPS)
    assert term("xmin").axis == "start of the tail xmin (weight²)" and term("alpha").axis == "power-law exponent α"
    assert term("left_p_student_t").text == "Tail of the negative weights: p of that R, student t"
    assert term("R_lognormal").text == "R of the power law against lognormal"
    assert term("q05").text == "5 % of the weights lie below"
    assert term("min_participation_u").group == "Singular vectors" and "longer side" in term("min_participation_u").text
    assert term("num_vectors").text == "Number of leading singular vectors"
    assert term("something_new").label == "something new" and term("something_new").group == "Other"


def test_p_values_of_a_network():
    layers = [layer_of(str(i), {"gof_p": p}) for i, p in enumerate((0.0, 0.05, 0.1, 0.5, 1.0))]
    (ax,) = plot_p_values(Report("net", (*layers, layer_of("b")))).axes
    assert [bar.get_height() for bar in ax.patches if bar.get_width() > 0.09] == [2, 1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert any("3 rejected" in label for label in drawn(ax))
    assert words(plot_p_values(Report("net", (layer_of("b"),)))) == ["no p-values: analyze with gof=1000"]
