"""The figures of a layer draw its numbers, and say in words where there is nothing to draw."""

import functools
import pickle
import threading

import numpy as np
import pytest

from spectra.errors import InputError
from spectra.report.curves import bulk_histogram, bulk_law, log_density, power_law, short_name
from spectra.report.figures import plot_bulk, plot_ccdf, plot_esd, plot_families, plot_histogram, plot_layer, plot_xmin
from spectra.report.result import LayerResult, WeightHistogram


def fit(values):
    """Power-law fit by the definition: the candidate xmin with the smallest KS distance."""
    x = np.sort(values[values > 1e-5])
    best = (np.inf,)
    for i in range(x.size - 1):
        tail = x[i:] / x[i]
        alpha = 1 + tail.size / np.log(tail).sum()
        distance = np.abs(1 - tail ** (1 - alpha) - np.arange(tail.size) / tail.size).max()
        best = min(best, (distance, alpha, x[i], tail.size))
    return best


@functools.cache
def analyzed(df):
    """Weights, eigenvalues and fit, once for all layers of a kind."""
    weights = 0.05 * np.random.default_rng(0).standard_t(df, (300, 150)).astype(np.float32)
    values = np.linalg.svd(weights.astype(np.float64), compute_uv=False)[::-1] ** 2
    return weights, values, fit(values)


def make_layer(name="block.0.kernel", df=3.0, **changes):
    weights, values, (distance, alpha, xmin, tail) = analyzed(df)
    counts, edges = np.histogram(weights, 80)
    metrics = {"count": weights.size, "mean": float(weights.mean()), "std": float(weights.std())}
    metrics |= {
        "min": float(weights.min()),
        "max": float(weights.max()),
        "near_zero_std": 0.1,
        "num_evals": values.size,
    }
    metrics |= {"alpha": alpha, "xmin": xmin, "D": distance, "sigma": (alpha - 1) / tail**0.5, "num_pl_spikes": tail}
    fields = {
        "kind": "dense",
        "role": "",
        "depth": None,
        "shape": weights.shape,
        "dtype": "float32",
        "status": "success",
        "warning": "",
        "metrics": metrics,
        "histogram": WeightHistogram(edges, counts, 0, 0),
        "eigenvalues": values,
    }
    return LayerResult(name=name, **(fields | changes))


def bare(name="bias", **changes):
    return make_layer(name, **({"metrics": {}, "histogram": None, "eigenvalues": None} | changes))


def lines(ax):
    return {str(line.get_label()): np.asarray(line.get_data(), float) for line in ax.get_lines()}


def words(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_ccdf_is_the_share_at_or_above():
    layer = make_layer()
    (ax,) = plot_ccdf(layer).axes
    x, p = lines(ax)["eigenvalues"]
    expected = [np.mean(layer.eigenvalues >= value) for value in x]
    np.testing.assert_array_equal(x, layer.eigenvalues)
    np.testing.assert_allclose(p, expected, rtol=1e-12)


def test_ccdf_counts_repeated_and_zero_eigenvalues():
    values = np.array([0.0, 0.0, 1.0, 1.0, 2.0, 4.0])
    (ax,) = plot_ccdf(make_layer(eigenvalues=values, metrics={})).axes
    x, p = lines(ax)["eigenvalues"]
    np.testing.assert_array_equal(x, [1, 2, 4])
    np.testing.assert_allclose(p, [4 / 6, 2 / 6, 1 / 6])


def test_fitted_lines_start_at_xmin_with_the_share_of_the_tail():
    layer = make_layer()
    alpha, xmin, tail = (layer.metrics[key] for key in ("alpha", "xmin", "num_pl_spikes"))
    share, largest = tail / layer.eigenvalues.size, layer.eigenvalues[-1]
    figure = plot_layer(layer)
    for ax, at_xmin, power in (
        (figure.axes[1], share * (alpha - 1) / xmin, -alpha),
        (figure.axes[2], share, 1 - alpha),
    ):
        (label,) = [label for label in lines(ax) if label.startswith("α")]
        x, y = lines(ax)[label]
        np.testing.assert_allclose([x[0], x[-1]], [xmin, largest])
        np.testing.assert_allclose([y[0], y[-1]], [at_xmin, at_xmin * (largest / xmin) ** power])
        assert label == f"α = {alpha:.2f} ± {layer.metrics['sigma']:.2f}, D = {layer.metrics['D']:.3f}"
        (mark,) = [label for label in lines(ax) if label.startswith("xmin")]
        assert f"tail of {tail}" in mark
        np.testing.assert_array_equal(lines(ax)[mark][0], [xmin, xmin])
    # At xmin the empirical CCDF is the share of the tail by definition.
    np.testing.assert_allclose(np.mean(layer.eigenvalues >= xmin), share)


def test_density_integrates_to_one():
    layer = make_layer()
    (ax,) = plot_esd(layer).axes
    heights, edges, _ = ax.patches[0].get_data()
    assert np.sum(heights * np.diff(edges)) == pytest.approx(1)
    assert (edges[0], edges[-1]) == (layer.eigenvalues[0], layer.eigenvalues[-1])


def test_density_leaves_out_the_share_of_zeros():
    edges, density = log_density(np.array([0.0, 0.0, 1.0, 3.0]))
    assert np.sum(density * np.diff(edges)) == pytest.approx(0.5)


def test_histogram_bars_sum_to_the_count_and_normal_matches_its_moments():
    layer = make_layer(df=1e6)  # as good as normal
    (ax,) = plot_histogram(layer).axes
    heights, edges, _ = ax.patches[0].get_data()
    assert heights.sum() == layer.metrics["count"]
    assert ax.get_yscale() == "log"
    x, y = lines(ax)["normal, same mean and std"]
    width = edges[1] - edges[0]
    assert np.sum((y[1:] + y[:-1]) / 2 * np.diff(x)) / width == pytest.approx(layer.metrics["count"], rel=1e-3)
    assert np.sum(x * y) / np.sum(y) == pytest.approx(layer.metrics["mean"], abs=1e-3)
    centre = np.argmax(y)
    np.testing.assert_allclose(y[centre], heights[np.searchsorted(edges, x[centre]) - 1], rtol=0.1)


def test_histogram_names_what_is_out_of_range():
    layer = make_layer(histogram=WeightHistogram(np.array([0.0, 1, 2]), np.array([3, 4]), 2, 5))
    (ax,) = plot_histogram(layer).axes
    assert "7 outside the range" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_axes_are_labelled():
    figure = plot_layer(make_layer())
    labels = [(ax.get_xlabel(), ax.get_ylabel()) for ax in figure.axes]
    assert labels[0] == ("weight w", "number of weights in a bin")
    assert labels[1] == ("eigenvalue λ of WᵀW (weight²)", "density of eigenvalues (1/weight²)")
    assert labels[2] == ("eigenvalue λ of WᵀW (weight²)", "P(Λ ≥ λ)")
    assert [ax.get_xscale() for ax in figure.axes] == ["linear", "log", "log"]


ODD = {
    "bias": (bare(kind="bias", shape=(3,)), "no spectrum (bias)"),
    "failed": (bare(status="failed", warning="not finite"), "analysis failed"),
    "skipped": (bare(kind="buffer", status="skipped"), "no spectrum (buffer)"),
    "zeros": (make_layer(eigenvalues=np.zeros(5), metrics={}), "all eigenvalues are zero"),
    "no eigenvalues": (make_layer(eigenvalues=np.empty(0), metrics={}), "no spectrum (dense)"),
    "one eigenvalue": (make_layer(eigenvalues=np.array([2.5]), metrics={"alpha": None}), None),
    "equal eigenvalues": (make_layer(eigenvalues=np.full(9, 2.5)), None),
    "not finite": (make_layer(eigenvalues=np.array([np.nan, np.inf, 1.0])), None),
    "nan metrics": (make_layer(metrics=dict.fromkeys(make_layer().metrics, float("nan"))), None),
    "no metrics": (make_layer(metrics={}), None),
    "text metric": (make_layer(metrics={"alpha": 2.0, "xmin": 1e9, "method": "gram"}), None),
    "constant": (
        make_layer(
            metrics={"min": 0.5, "max": 0.5, "std": 0.0},
            histogram=WeightHistogram(np.full(2, 0.5), np.array([6]), 0, 0),
        ),
        "all weights equal 0.5",
    ),
    "constant, wide bins": (
        make_layer(
            metrics={"std": 0.0, "mean": 0.5}, histogram=WeightHistogram(np.array([0, 1.0]), np.array([6]), 0, 0)
        ),
        None,
    ),
    "empty bins": (
        make_layer(histogram=WeightHistogram(np.array([0, 1.0]), np.array([0]), 0, 0)),
        "no weight histogram",
    ),
    "nan edges": (
        make_layer(histogram=WeightHistogram(np.array([np.nan, 1]), np.array([6]), 0, 0)),
        "no weight histogram",
    ),
    "tiny": (make_layer(eigenvalues=np.array([1e-300, 1e-200, 1e-190])), None),
    "huge": (make_layer(eigenvalues=np.array([1e-3, 1e70, 1e77])), None),
    "far from its normal": (make_layer(metrics={"mean": 1e6, "std": 1e-6}), None),
}


@pytest.mark.parametrize("case", ODD)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_odd_layers_are_drawn_or_said(case):
    layer, said = ODD[case]
    figure = plot_layer(layer)
    figure.canvas.draw()
    assert len(figure.axes) == 3
    assert said is None or said in words(figure)


@pytest.mark.parametrize("name", ["a$b$", "$\\frac{", "a_b^c", "a\nb\x00", "x" * 100_000, "層.重み", ""])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_any_name_is_a_title(name):
    figure = plot_layer(make_layer(name))
    figure.canvas.draw()
    title = figure.get_suptitle()
    assert len(title) <= 110
    assert title == short_name(name, 110)
    assert title.isprintable()
    plot_esd(make_layer(name)).canvas.draw()


def test_long_names_lose_their_middle():
    shortened = short_name("head" + "x" * 1000 + "tail", 20)
    assert len(shortened) == 20
    assert shortened.startswith("head")
    assert shortened.endswith("tail")


def test_draws_on_given_axes():
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.subplots(1, 3)
    assert plot_layer(make_layer(), axes=axes) is figure
    assert axes[0].get_title("left") == "block.0.kernel"
    single = Figure().subplots()
    assert plot_esd(make_layer(), single) is single.figure
    assert len(single.patches) == 1


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match="choose all, histogram, esd, ccdf"):
        plot_layer(make_layer(), kind="pdf")
    with pytest.raises(InputError, match="needs 3 axes, not 1"):
        plot_layer(make_layer(), axes=[plot_esd(make_layer()).axes[0]])


def test_notebooks_can_show_it_and_it_pickles():
    figure = plot_layer(make_layer())
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert len(pickle.loads(pickle.dumps(figure)).axes) == 3


def test_threads_draw_without_pyplot():
    drawn = []
    threads = [threading.Thread(target=lambda: drawn.append(plot_layer(make_layer()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drawn) == 3


def test_families_are_drawn_from_xmin_on_as_a_share_of_the_whole():
    layer = make_layer()
    alpha, xmin, tail = (layer.metrics[name] for name in ("alpha", "xmin", "num_pl_spikes"))
    rate = 1 / (layer.eigenvalues[-tail:] / xmin - 1).mean()
    layer.metrics.update(verdict="better: exponential", R_exponential=-2.5, p_exponential=0.012)
    layer.families.update(power_law=(alpha,), exponential=(rate,), lognormal=(np.nan, np.nan))
    (ax,) = plot_families(layer).axes
    drawn = lines(ax)
    x, p = drawn["power law"]
    np.testing.assert_allclose(p, tail / 150 * (x / xmin) ** (1 - alpha), rtol=1e-4)
    x, p = drawn["exponential: R = -2.5, p = 0.012"]
    np.testing.assert_allclose(p, tail / 150 * np.exp(-rate * (x / xmin - 1)), rtol=1e-4)
    assert drawn["tail"].shape == (2, tail) and not any("lognormal" in name for name in drawn)
    assert ax.get_legend().get_title().get_text() == "better: exponential"
    assert words(plot_families(bare())) and words(plot_families(make_layer())) == ["no power-law fit"]


def test_distance_against_xmin_has_its_lowest_point_at_the_fit():
    layer = make_layer()
    layer.metrics.update(xmin_low=0.5 * layer.metrics["xmin"], xmin_high=2 * layer.metrics["xmin"])
    (ax,) = plot_xmin(layer).axes
    x, distances = lines(ax)["every candidate"]
    np.testing.assert_allclose(x, layer.eigenvalues[:-1])
    assert x[distances.argmin()] == layer.metrics["xmin"]
    np.testing.assert_allclose(distances.min(), layer.metrics["D"])
    assert words(plot_xmin(bare()))


def test_many_candidates_are_thinned_out():
    values = np.sort(1 + np.random.default_rng(0).pareto(2, 3000))
    (ax,) = plot_xmin(make_layer(eigenvalues=values, metrics={})).axes
    x, _ = lines(ax)["every candidate"]
    assert x.size == 400 and x[0] == values[0] and x[-1] == values[-2]


@functools.cache
def gaussian(rows, columns, spike):
    """Eigenvalues of Gaussian entries with one direction added."""
    rng = np.random.default_rng(1)
    weights = 0.1 * rng.standard_normal((rows, columns))
    weights += spike * np.outer(rng.standard_normal(rows), rng.standard_normal(columns)) / (rows * columns) ** 0.5
    return np.linalg.svd(weights, compute_uv=False)[::-1] ** 2


def noisy(rows=400, columns=200, spike=0.0, **metrics):
    """Such a layer, and what `--null` would say of it."""
    values = gaussian(rows, columns, spike)
    told = {"N": rows, "M": columns, "rf": 1, "num_evals": columns, "sigma_mp": 0.1, "num_spikes": int(spike > 0)}
    told |= {"bulk_edge": 1.02 * 0.01 * (rows**0.5 + columns**0.5) ** 2}
    return make_layer(eigenvalues=values, metrics=told | metrics)


def test_the_law_of_the_bulk_is_marchenko_and_pastur():
    law = bulk_law(noisy(num_spikes=0), 4001)
    lower, upper = (0.01 * (400**0.5 + sign * 200**0.5) ** 2 for sign in (-1, 1))
    x = np.linspace(lower, upper, 20_001)[1:-1]
    expected = np.sqrt((upper - x) * (x - lower)) / (2 * np.pi * 0.01 * 200 * x)
    np.testing.assert_allclose(np.interp(x, law.x, law.density)[100:-100], expected[100:-100], rtol=1e-4)
    assert np.sum((law.density[1:] + law.density[:-1]) / 2 * np.diff(law.x)) == pytest.approx(1, abs=1e-5)


def test_spikes_leave_their_share_and_a_smaller_matrix_to_the_bulk():
    law = bulk_law(noisy(num_spikes=20), 4001)
    assert np.sum((law.density[1:] + law.density[:-1]) / 2 * np.diff(law.x)) == pytest.approx(0.9, abs=1e-5)
    np.testing.assert_allclose(law.x[-1], 0.01 * (380**0.5 + 180**0.5) ** 2, rtol=1e-5)
    pooled = bulk_law(noisy(num_spikes=20, rf=4, num_evals=800), 4001)
    np.testing.assert_allclose(pooled.x[-1], 0.01 * (395**0.5 + 195**0.5) ** 2, rtol=1e-5)


def test_noise_is_drawn_over_the_spectrum_with_its_edge_and_spikes():
    layer = noisy(spike=8.0)
    edge = layer.metrics["bulk_edge"]
    for ax in (plot_esd(layer).axes[0], plot_bulk(layer).axes[0]):
        drawn = lines(ax)
        np.testing.assert_array_equal(drawn["1 spikes"][0], layer.eigenvalues[layer.eigenvalues > edge])
        np.testing.assert_array_equal(drawn[f"edge of noise {edge:.3g}"][0], [edge, edge])
        np.testing.assert_allclose(drawn["noise (Marchenko–Pastur)"], bulk_law(layer)[:2])
    heights, edges, _ = plot_bulk(layer).axes[0].patches[0].get_data()
    # On a sample of 200 the histogram is the law within its scatter: the two areas differ by less than 3 %.
    inside = edges[:-1] < bulk_law(layer).x[-1]
    assert np.sum((heights * np.diff(edges))[inside]) == pytest.approx(0.995, abs=0.03)
    assert edges[0] == 0 and edges[-1] < layer.eigenvalues[-1]
    assert bulk_histogram(layer).beyond == 1
    assert words(plot_bulk(make_layer())) == ["no bulk: analyze with null=True"]
    assert words(plot_bulk(bare())) == ["no spectrum (dense)"]
    zeros = noisy(sigma_mp=None, bulk_edge=None)
    assert bulk_law(zeros) is None and words(plot_bulk(zeros))


def test_top_eigenvalues_that_were_left_out_of_the_fit_stand_beside_it():
    _, values, (_, alpha, xmin, tail) = analyzed(3.0)
    with_fingers = np.append(values, [50 * values[-1]] * 3)
    layer = make_layer(eigenvalues=with_fingers)
    layer.metrics.update(num_fingers=3, num_evals=153)
    fitted = power_law(layer)
    assert (fitted.xmax, fitted.share, fitted.beyond) == (values[-1], tail / 153, 3 / 153)
    np.testing.assert_allclose(fitted.ccdf(np.array(xmin)), np.mean(with_fingers >= xmin))
    x, p = lines(plot_ccdf(layer).axes[0])[
        f"α = {alpha:.2f} ± {layer.metrics['sigma']:.2f}, D = {layer.metrics['D']:.3f}"
    ]
    np.testing.assert_allclose([x[-1], p[0]], [values[-1], (tail + 3) / 153])
    x, distances = lines(plot_xmin(layer).axes[0])["every candidate"]
    assert x.size == 149 and x[distances.argmin()] == xmin
