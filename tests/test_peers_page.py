"""docs/peers.md: every name of a peer has a row, and every name of ours in it exists.

The lists of the peers' names were read from their sources (WeightWatcher 0.7.7, diffract-core 0.3.1); they are not
imported here.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest

from spectra.cli import spectra as program
from spectra.engine.backends import LapackBackend
from spectra.engine.columns import spectral_columns
from spectra.engine.compare_layer import shift_columns
from spectra.engine.compare_vectors import Directions, overlap_columns
from spectra.engine.entries import describe_entries
from spectra.engine.esd import ESD, Fingers
from spectra.engine.farms import farms_columns
from spectra.engine.fitted import ALTERNATIVES, Sample, Trust, verdict_columns
from spectra.engine.localised import NAMES
from spectra.engine.null import _bulk_names, _null_names
from spectra.engine.verdict import Alternative
from spectra.kernels import PowerLawFit
from spectra.report.comparison import ModelComparison
from spectra.report.result import LayerResult, Report

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "peers.md").read_text(encoding="utf-8")
RECORDS = {kind.__name__: kind for kind in (LayerResult, Report, ModelComparison)}

WEIGHTWATCHER_OPTIONS = """
    model layers min_evals max_evals min_size max_size max_N glorot_fix plot randomize savefig mp_fit conv2d_norm ww2x
    pool conv2d_fft fft deltas intra vectors channels stacked fix_fingers xmin_max max_fingers finger_thresh fit
    sparsify detX ERG svd_method tolerance start_ids pl_package xmax base_model peft inverse
"""
WEIGHTWATCHER_COLUMNS = """
    layer_id name longname layer_type N M rf Q has_esd num_evals sv_max sv_min rank_loss weak_rank_loss lambda_max
    alpha xmin xmax D sigma num_pl_spikes status warning norm log_norm spectral_norm log_spectral_norm alpha_weighted
    log_alpha_norm stable_rank matrix_rank entropy slice_id Xflag peft Lambda num_fingers raw_alpha detX_num
    num_ERG_spikes ERG_gap detX_val detX_val_unrescaled num_spikes sigma_mp mp_softrank W_scale bulk_max bulk_min
    max_rand_eval rand_distance ww_softrank ww_maxdist rand_num_spikes num_traps rand_sigma_mp rand_mp_softrank
    rand_W_scale rand_bulk_max rand_bulk_min
    bulk_mean_vec_entropy bulk_var_vec_entropy tail_mean_vec_entropy tail_var_vec_entropy
    bulk_mean_loc_ratio bulk_var_loc_ratio tail_mean_loc_ratio tail_var_loc_ratio
    bulk_mean_part_ratio bulk_var_part_ratio tail_mean_part_ratio tail_var_part_ratio
"""
DIFFRACT_FIELDS = """
    weights aspect_ratio avg_l_agreement avg_max_l_agreement avg_max_r_agreement avg_r_agreement effective_rank esd
    esd_max esd_min esd_rand esd_rand_max esd_rand_min expon_concentration expon_esd_xmin expon_ks expon_lambda
    expon_p_value expon_presence expon_scale frob_norm greater_dim hard_rank l2_norm l_agreement l_overlap log_norm
    log_prod_frob_norm log_prod_spectral_norm log_spectral_norm lower_dim max_l_agreement max_r_agreement
    max_weights_rand_sval max_weights_sval min_weights_rand_sval min_weights_sval model_pl_alpha_norm
    model_tpl_alpha_norm mp_bulk_std mp_concentration mp_esd_max mp_esd_min mp_ks mp_num_spikes mp_presence
    mp_soft_rank mp_sval_max nuclear_norm param_norm pl_alpha pl_alpha_norm pl_alpha_weighted pl_concentration
    pl_esd_xmin pl_ks pl_p_value pl_presence r_agreement r_overlap stable_rank tpl_alpha tpl_alpha_norm
    tpl_concentration tpl_esd_xmin tpl_ks tpl_lambda tpl_p_value tpl_presence tpl_scale tw_esd_bound tw_num_spikes
    w1_rand_distance weights_lsvs weights_rand weights_rand_lsvs weights_rand_rsvs weights_rand_svals weights_rsvs
    weights_std weights_svals
"""


def rows(heading: str, text: str = PAGE) -> list[list[str]]:
    """Cells of the tables below a heading, without the rows that are no content."""
    [section] = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in cells if row[0] != "theirs" and not set(row[0]) <= {"-"}]


def in_backticks(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


HEADINGS = [heading for heading in re.findall(r"^## (.*)$", PAGE, flags=re.MULTILINE) if rows(heading)]


@pytest.mark.parametrize(
    ("heading", "names"),
    [
        ("WeightWatcher: options of `analyze()`", WEIGHTWATCHER_OPTIONS),
        ("WeightWatcher: columns", WEIGHTWATCHER_COLUMNS),
        ("Diffract: fields", DIFFRACT_FIELDS),
    ],
)
def test_every_name_of_a_peer_has_one_row(heading: str, names: str):
    # What stands in parentheses is the option that a column needs.
    listed = [name for row in rows(heading) for name in in_backticks(re.sub(r"\(.*?\)", "", row[0]))]
    assert sorted(listed) == sorted(names.split())


@cache
def columns() -> frozenset[str]:
    """Names of all columns of `analyze` and `compare`, from the functions that make them."""
    one, three = np.asarray(1.0), np.asarray(3)
    fit = PowerLawFit(one * 2, one, one, one, n_tail=three, status=np.asarray(0))
    nothing = Sample(np.ones(0), np.ones(0, bool), 1.0)
    esd = ESD(np.array([[3.0, 2.0, 1.0]]), np.array([0]), np.array([1e-9]), nothing, fit, "gram", Fingers(1, 2.0))
    view: Any = SimpleNamespace(N=4)
    trust = Trust(0.5, (1.0, 2.0), (1.0, 2.0))
    layer = LayerResult("a", "dense", "", 0, (4, 3), "float32", "success", "")
    directions = Directions(np.eye(4)[None, :, :2], np.eye(3)[None, :, :2], np.array([2]))
    found = {field.name for field in dataclasses.fields(LayerResult)} | {"model", "method", "M", "N", "Q", "rf"}
    found |= {"num_evals", *spectral_columns(esd, view), *describe_entries(np.arange(12.0)).columns}
    found |= set(verdict_columns(fit, dict.fromkeys(ALTERNATIVES, Alternative(0.0, 1.0, 0.0)), trust))
    found |= {*_bulk_names(None, 1.0), *_null_names(None, 1.0)}
    found |= {*NAMES, *farms_columns(np.eye(4)[None, :, :3], LapackBackend({}))}
    found |= {*shift_columns(layer, layer), *overlap_columns(directions, directions)}
    source = (ROOT / "src/spectra/engine/compare_layer.py").read_text(encoding="utf-8")
    return frozenset(found | set(re.findall(r'"(delta_\w+|relative_change)":', source)))


def is_option(words: str) -> bool:
    """Whether `--option` or `--option choice` is one of the program's."""
    option, *value = words.split()
    for command in program.commands.values():
        for parameter in command.params:
            if option in parameter.opts:
                return not value or (isinstance(parameter.type, click.Choice) and value[0] in parameter.type.choices)
    return False


def is_attribute(name: str) -> bool:
    """Whether `Record.field` is part of a result, or `spectra.….function` of the library."""
    record, _, attribute = name.rpartition(".")
    if record in RECORDS:
        fields = {field.name for field in dataclasses.fields(RECORDS[record])}
        return attribute in fields or hasattr(RECORDS[record], attribute)
    return re.fullmatch(r"spectra(\.\w+)*", record) is not None and hasattr(importlib.import_module(record), attribute)


def exists(name: str) -> bool:
    if name.startswith("--"):
        return is_option(name)
    if name.startswith("spectra "):
        return name.removeprefix("spectra ") in program.commands
    return name in columns() or is_attribute(name)


@pytest.mark.parametrize("heading", HEADINGS)
def test_every_name_of_ours_exists(heading: str):
    for row in rows(heading):
        assert len(row) == 3, row
        names = in_backticks(row[1])
        assert names or row[1] in ("not in spectra", "the argument MODEL"), row
        assert [name for name in names if not exists(name)] == [], row


@pytest.mark.parametrize("name", ["alpha_hat", "--cleaner", "--conv spiral", "spectra tidy", "Report.to_polars"])
def test_what_does_not_exist_is_noticed(name: str):
    assert not exists(name)


def test_places_in_our_source_exist():
    places = re.findall(r"`(src/[\w/]+\.py)`,\s+`(\w+)`", PAGE)
    assert len(places) >= 10
    for file, name in places:
        source = (ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {name}\(|^{name} = |^[\w, ]*\b{name}\b[\w, ]* = ", source, flags=re.MULTILINE), name
