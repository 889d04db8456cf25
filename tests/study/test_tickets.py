"""Pruning and rewinding, on networks small enough to look at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spectra.errors import InputError
from spectra.study.data import Dataset
from spectra.study.experiments import lottery, pruning
from spectra.study.network import initial_network
from spectra.study.spec import Spec
from spectra.study.train import train

SPEC = Spec("lenet", 2, 300, seed=0, epochs=2, images="digits", method="lottery", gof=0)


@pytest.fixture(scope="module")
def data() -> Dataset:
    whole = SPEC.data()
    return whole._replace(train_x=whole.train_x[:512], train_y=whole.train_y[:512])


@pytest.fixture(scope="module")
def tickets(data: Dataset) -> list[dict]:
    curves: list[dict] = []
    patch = pytest.MonkeyPatch()
    patch.setitem(lottery.ROUNDS, "lottery", 4)
    patch.setattr(lottery, "measured", lambda *args, **options: [])
    lottery.draw_tickets(SPEC, initial_network(SPEC, data), data, [], curves)
    patch.undo()
    return curves


def test_each_round_keeps_four_fifths_and_nine_tenths_of_the_output(tickets: list[dict]):
    kept = [row for row in tickets if row["what"] == "kept"]
    for row in kept:
        rate = 0.9 if row["role"] == "output" else 0.8
        assert row["kept"] == pytest.approx(rate ** row["round"], abs=2e-3)
    assert sorted({row["round"] for row in kept}) == [0, 1, 2, 3, 4]


def test_every_kind_of_ticket_is_drawn_at_the_same_density(tickets: list[dict]):
    found = {(row["kind"], row["round"]): row["density"] for row in tickets if row["what"] == "ticket"}
    assert [number for kind, number in found if kind == "winning"] == [0, 1, 2, 3, 4]
    for number in (1, 4):
        assert found["fresh", number] == found["random", number] == found["winning", number]
    rows = [row for row in tickets if row["what"] == "ticket"]
    assert all(0 < row["best_step"] <= 8 for row in rows)
    for row in rows:
        if row["best_step"] == 8:  # two epochs of four batches: the last step
            assert row["best_test_accuracy"] == pytest.approx(row["test_accuracy"], abs=1e-6)


def test_a_ticket_that_diverges_is_the_last(data: Dataset, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lottery, "measured", lambda *args, **options: [])
    whole = lottery.train

    def diverging(model, data, config, *, masks, **options):
        result = whole(model, data, config, masks=masks, **options)
        pruned = any(not mask.all() for mask in masks.values())
        return result._replace(diverged=True) if pruned else result

    monkeypatch.setattr(lottery, "train", diverging)
    curves: list[dict] = []
    dense = lottery.draw_tickets(SPEC, initial_network(SPEC, data), data, [], curves)
    assert not dense.diverged
    assert {row["round"] for row in curves} == {0, 1}


def test_pruned_weights_stay_zero_and_the_others_begin_where_they_began(data: Dataset):
    model = initial_network(SPEC, data)
    rng = np.random.default_rng(0)
    masks = {name: rng.random(model.layer(name).kernel.shape) < 0.3 for name in model.places()}
    seen = []
    result = train(
        model, data, SPEC.config, seed=0, marks=[0], probe=lambda s, m: seen.append(m.kernels()), masks=masks
    )
    for name, mask in masks.items():
        trained = np.asarray(result.model.layer(name).kernel[...])
        start = np.asarray(model.layer(name).kernel[...])
        assert np.all(trained[~mask] == 0)
        assert np.mean(trained[mask] != start[mask]) > 0.5
        np.testing.assert_array_equal(seen[0][f"{name}.kernel"], np.where(mask, start, 0))
    with pytest.raises(InputError, match=r"mask of layers\.0"):
        train(model, data, SPEC.config, seed=0, masks={"layers.0": np.ones((2, 2))})


def test_pruning_everywhere_takes_the_smallest_of_all_layers(data: Dataset):
    model = initial_network(SPEC, data)
    masks = {name: np.ones(model.layer(name).kernel.shape, bool) for name in model.places()}
    pruned = lottery._pruned(masks, model, everywhere=True)
    sizes = {name: np.abs(np.asarray(model.layer(name).kernel[...])) for name in masks}
    smallest_kept = min(sizes[name][mask].min() for name, mask in pruned.items())
    largest_gone = max(sizes[name][~mask].max() for name, mask in pruned.items())
    assert largest_gone <= smallest_kept
    assert lottery._density(pruned) == pytest.approx(0.8, abs=1e-4)


def test_pruning_one_layer_leaves_the_network_as_it_was(data: Dataset):
    spec = replace(SPEC, method="pruning")
    model = initial_network(spec, data)
    curves: list[dict] = []
    patch = pytest.MonkeyPatch()
    patch.setattr(pruning, "train_and_measure", lambda s, m, d, layers: train(m, d, s.config, seed=0))
    result = pruning.prune_layers(spec, model, data, [], curves)
    patch.undo()
    alone = [row for row in curves if row["what"] == "alone"]
    assert len(alone) == 3 * len(pruning.DENSITIES)
    kept = {row["layer"]: row["kept"] for row in curves if row["what"] == "kept"}
    for name, share in kept.items():
        w = np.asarray(result.model.layer(name).kernel[...])
        assert np.all(w != 0)  # nothing that was set to zero stayed so
        assert share == pytest.approx(np.mean(np.abs(w) >= w.std()), abs=1e-6)
    (again,) = [row for row in curves if row["what"] == "retrained"]
    assert again["dense"] == result.test_accuracy
    # The accuracy without a layer's small weights, computed by hand.
    name, density = "layers.1", 0.1
    kernels = {k: v.astype(np.float64) for k, v in result.model.kernels().items()}
    w = kernels[f"{name}.kernel"]
    w[np.abs(w) < np.quantile(np.abs(w), 1 - density)] = 0
    h = data.test_x.astype(np.float64)
    for i in range(3):
        bias = np.asarray(result.model.layer(f"layers.{i}").bias[...], np.float64)
        h = h @ kernels[f"layers.{i}.kernel"] + bias
        h = np.maximum(h, 0) if i < 2 else h
    accuracy = np.mean(h.argmax(1) == data.test_y)
    (row,) = [row for row in alone if row["layer"] == name and row["density"] == density]
    assert row["accuracy_loss"] == pytest.approx(result.test_accuracy - accuracy, abs=2 / len(data.test_y))
