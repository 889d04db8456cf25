"""Records on the device: in a scan, beside each other under vmap, and in a ring."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from spectra.training import Recorder, Records, Schedule, select, track
from spectra.training.conditional import only_if

SPREAD = jnp.asarray(np.random.default_rng(0).standard_normal((24, 16)), jnp.float32)
METRICS = ["std", "stable_rank"]


def params_at(step: jax.Array | float) -> dict:
    """Weights that grow with the step, one of whose layers breaks at step 7."""
    grown = SPREAD * (1.0 + step)
    return {"a": {"kernel": grown}, "b": {"kernel": jnp.where(step == 7, jnp.nan, grown[::-1])}}


SELECTION = select(params_at(0.0), metrics=METRICS)


@partial(jax.jit, static_argnums=(0, 1))
def scanned(recorder: Recorder, steps: int, start: jax.Array) -> Records:
    def train_step(carry: tuple[Records, jax.Array], _: None) -> tuple[tuple[Records, jax.Array], None]:
        records, step = carry
        return (recorder.update(records, params_at(step), step), step + 1), None

    return jax.lax.scan(train_step, (recorder.init(), start), length=steps)[0][0]


@pytest.fixture(scope="module")
def pair() -> Records:
    """Two runs side by side, the second three steps ahead, due at 0, 4, 7 and 10; a ring of three."""
    recorder = Recorder(SELECTION, Schedule.at([0, 4, 7, 10]), capacity=3)
    return jax.device_get(jax.vmap(partial(scanned, recorder, 12))(jnp.array([0, 3])))


def test_members_of_a_batch_are_recorded_at_their_own_steps(pair: Records):
    assert pair.written.tolist() == [4, 3]
    assert pair.step.tolist() == [[10, 4, 7], [4, 7, 10]]  # the ring of the first has begun anew


def test_records_are_what_measure_says(pair: Records):
    std = float(jnp.std(SPREAD))
    for member, row, step in ((0, 1, 4), (0, 0, 10), (1, 0, 4), (1, 2, 10)):
        np.testing.assert_allclose(pair.values[member, row, :, 0], std * (1 + step), rtol=1e-5)
        assert pair.finite[member, row].all()
    sigma = np.linalg.svd(np.asarray(SPREAD, np.float64), compute_uv=False)
    np.testing.assert_allclose(pair.values[0, 0, :, 1], np.sum(sigma**2) / sigma[0] ** 2, rtol=1e-5)


def test_a_layer_that_breaks_is_flagged_and_the_loop_goes_on(pair: Records):
    assert pair.finite[0, 2].tolist() == [True, False]
    assert np.isnan(pair.values[0, 2, 1]).all()
    assert np.isfinite(pair.values[0, 2, 0]).all()


def test_the_tracker_takes_the_records_of_every_member_and_tells_what_was_lost(pair: Records):
    tracker = track(params_at(0.0), metrics=METRICS, schedule=[0, 4, 7, 10], label="run", capacity=3)
    with pytest.warns(UserWarning, match=r"run\[0\]: 1 records were overwritten before they were collected"):
        tracker.collect(pair)
    tracker.collect(pair)  # nothing new
    frame = tracker.to_pandas()
    steps = {model: group.step.tolist()[::2] for model, group in frame.groupby("model")}
    assert steps == {"run[0]": [4, 7, 10], "run[1]": [4, 7, 10]}
    assert frame[frame.status == "failed"][["step", "name"]].values.tolist() == [[7, "b.kernel"]] * 2
    assert set(frame[frame.status == "failed"].warning) == {"NaN or infinite entries"}


def test_a_second_loop_with_the_same_tracker_is_collected_too():
    tracker = track(params_at(0.0), metrics=METRICS, schedule=1, capacity=4)
    for run in (1.0, 2.0):
        values = np.full((4, 2, 2), run)
        tracker.collect(Records(np.array([0, 1, 2, -1]), values, np.ones((4, 2), bool), np.int32(3)))
    assert tracker.to_pandas()["std"].tolist() == [1.0] * 6 + [2.0] * 6


def test_collecting_in_between_loses_nothing():
    tracker = track(params_at(0.0), metrics=METRICS, schedule=1, capacity=4)
    ring = Records(np.full(4, -1), np.zeros((4, 2, 2)), np.ones((4, 2), bool), np.int32(0))
    for step in range(9):
        ring.step[step % 4] = step
        ring = ring._replace(written=np.int32(step + 1))
        if step % 3 == 2:
            tracker.collect(ring)
    assert tracker.to_pandas().step.tolist()[::2] == list(range(9))


def test_nothing_is_computed_at_steps_that_are_not_due():
    """Under vmap, where `lax.cond` computes both branches."""
    calls: list[int] = []

    def count(x: jax.Array) -> jax.Array:
        jax.debug.callback(lambda: calls.append(1))
        return x + 1

    change = jax.jit(jax.vmap(lambda due, x: only_if(due, count, x)))
    nothing = change(jnp.array([False, False]), jnp.zeros(2))
    jax.effects_barrier()
    assert (nothing.tolist(), calls) == ([0, 0], [])
    some = change(jnp.array([False, True]), jnp.zeros(2))
    jax.effects_barrier()
    assert some.tolist() == [0, 1] and calls
