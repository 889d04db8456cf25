"""The loop: what is read when, what is let in, what happens when something fails."""

from __future__ import annotations

import threading
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spectra
from spectra.engine import run as loop
from spectra.engine.backends import LapackBackend, choose_backend
from spectra.engine.budget import Budget
from spectra.engine.options import Options
from spectra.engine.plan import Plan, make_plan, wide_jobs
from spectra.errors import CheckpointError
from spectra.models.source import TensorInfo, TensorSource
from spectra.report.result import LayerResult


class Slow(TensorSource):
    """A checkpoint on a slow disk that notes what is read, and by whom."""

    label, layout, in_memory = "slow", "flax", False

    def __init__(self, shapes: dict[str, tuple[int, ...]], seconds: float = 0.0, broken: str = "") -> None:
        self.tensors = tuple(TensorInfo(name, shape, "float32") for name, shape in shapes.items())
        self.reads: Counter[str] = Counter()
        self.threads: set[int] = set()
        self._seconds, self._broken = seconds, broken

    def read(self, name: str) -> np.ndarray:
        self.reads[name] += 1
        self.threads.add(threading.get_ident())
        time.sleep(self._seconds)
        if name == self._broken:
            raise CheckpointError(f"slow: tensor '{name}' is damaged")
        shape = next(info.shape for info in self.tensors if info.name == name)
        return np.random.default_rng(len(name)).standard_normal(shape).astype(np.float32)

    def close(self) -> None: ...


def planned(source: TensorSource) -> tuple[Plan, Options, LapackBackend]:
    options = Options(backend="lapack")
    plan = make_plan(source, options)
    backend = choose_backend(options, plan)
    assert isinstance(backend, LapackBackend)
    backend.workers = 2
    return plan, options, backend


def results(source: TensorSource) -> list[LayerResult]:
    plan, options, backend = planned(source)
    events = loop.run(plan, source, options, backend, range(len(plan.steps)))
    return [result for _, result in events if result is not None]


def test_each_tensor_is_read_once_by_one_thread_however_many_slices():
    source = Slow({"layers.Dense_0.kernel": (6, 30, 20), "out.kernel": (40, 20), "out.bias": (20,)})
    found = results(source)
    assert sorted(result.name for result in found) == sorted(
        [*(f"layers.Dense_0.kernel[{i}]" for i in range(6)), "out.kernel", "out.bias"]
    )
    assert set(source.reads.values()) == {1}
    assert len(source.threads) == 1 and threading.get_ident() not in source.threads


def test_reading_goes_on_while_layers_are_measured(monkeypatch):
    """Ten reads and ten measurements of 50 ms each on two workers: not one after the other."""
    measure = loop.measure

    def slowly(*arguments, **options):
        time.sleep(0.05)
        return measure(*arguments, **options)

    monkeypatch.setattr(loop, "measure", slowly)
    warm = Slow({"a.kernel": (30, 20)})
    results(warm)
    source = Slow({f"{i}.kernel": (30, 20) for i in range(10)}, seconds=0.05)
    start = time.perf_counter()
    assert len(results(source)) == 10
    assert time.perf_counter() - start < 0.05 * (10 + 10) * 0.8


def test_a_damaged_tensor_is_a_row_and_no_more():
    source = Slow({"a.kernel": (30, 20), "b.kernel": (30, 20), "c.kernel": (30, 20)}, broken="b.kernel")
    found = {result.name: result for result in results(source)}
    assert found["b.kernel"].status == "failed" and "is damaged" in found["b.kernel"].warning
    assert found["a.kernel"].status == found["c.kernel"].status == "success"


@pytest.mark.parametrize("place", ["read", "measure"])
def test_an_unexpected_error_in_a_thread_is_raised_to_the_caller(monkeypatch, place: str):
    source = Slow({f"{i}.kernel": (30, 20) for i in range(30)})
    if place == "read":
        monkeypatch.setattr(Slow, "read", lambda self, name: 1 / 0)
    else:
        monkeypatch.setattr(loop, "measure", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        results(source)


def test_no_thread_is_left_when_the_caller_stops_early():
    source = Slow({f"{i}.kernel": (30, 20) for i in range(50)}, seconds=0.01)
    plan, options, backend = planned(source)
    before = set(threading.enumerate())
    events = loop.run(plan, source, options, backend, range(50))
    next(event for event in events if event[1] is not None)
    assert set(threading.enumerate()) - before
    events.close()
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before
    assert sum(source.reads.values()) < 50


def test_memory_is_bounded_however_many_layers(monkeypatch):
    """Estimated bytes of all tensors in flight stay within the budget."""
    monkeypatch.setattr(loop, "ALWAYS", 0)
    held, most, lock = 0, 0, threading.Lock()
    take, give = Budget.take, Budget.give

    def counting_take(self, nbytes):
        nonlocal held, most
        taken = take(self, nbytes)
        with lock:
            held += nbytes
            most = max(most, held)
        return taken

    def counting_give(self, nbytes):
        nonlocal held
        with lock:
            held -= nbytes
        give(self, nbytes)

    monkeypatch.setattr(Budget, "take", counting_take)
    monkeypatch.setattr(Budget, "give", counting_give)
    source = Slow({f"{i}.kernel": (200, 100) for i in range(40)})
    assert len(results(source)) == 40
    assert held == 0
    assert 0 < most <= loop.AT_ONCE * 4 * 200 * 100


def test_only_wanted_steps_are_done():
    source = Slow({f"{i}.kernel": (30, 20) for i in range(6)})
    plan, options, backend = planned(source)
    found = [step.index for step, result in loop.run(plan, source, options, backend, {1, 4}) if result is not None]
    assert sorted(found) == [1, 4] and set(source.reads) == {"1.kernel", "4.kernel"}


def test_costliest_first_and_a_giant_takes_all_cores():
    source = Slow({"small.kernel": (30, 20), "giant.kernel": (2000, 1500), "mid.kernel": (500, 300)})
    plan, _, _ = planned(source)
    jobs = plan.jobs(range(3))
    assert [job.tensor for job in jobs] == ["giant.kernel", "mid.kernel", "small.kernel"]
    assert [job.tensor for job in wide_jobs(jobs, 2)][:1] == ["giant.kernel"]
    assert wide_jobs(jobs, 1) == []
    even = planned(Slow({f"{i}.kernel": (500, 300) for i in range(4)}))[0]
    assert wide_jobs(even.jobs(range(4)), 2) == []


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.integers(1, 60))
def test_budget_never_exceeds_its_total_but_for_one_alone(sizes: list[int], total: int):
    budget = Budget(total)
    taken: list[int] = []
    for size in sizes:
        while taken and sum(taken) and sum(taken) + size > total:
            budget.give(taken.pop())
        assert budget.take(size)
        taken.append(size)
        assert sum(taken) <= total or len([s for s in taken if s]) == 1


def test_a_closed_budget_lets_nobody_in():
    budget = Budget(10)
    assert budget.take(10)
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(budget.take(1)))
    waiting.start()
    budget.close()
    waiting.join(5)
    assert answers == [False]


def test_run_dir_takes_up_where_it_was(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    weights = {f"{i}.kernel": rng.standard_t(3, (60, 40)).astype(np.float32) for i in range(6)}
    whole = spectra.analyze(weights).to_pandas()
    measured: list[str] = []
    measure = loop.measure

    def dying(step, *arguments, **options):
        measured.append(step.layer.name)
        if len(measured) == 4:
            raise KeyboardInterrupt
        return measure(step, *arguments, **options)

    monkeypatch.setattr(loop, "measure", dying)
    with pytest.raises(KeyboardInterrupt):
        spectra.analyze(weights, run_dir=tmp_path / "run")
    first = list(measured)
    again = spectra.analyze(weights, run_dir=tmp_path / "run").to_pandas()
    assert again.equals(whole)
    kept = set(first) - set(measured[len(first) :])
    assert len(kept) >= 2  # of the three that were finished, at most the one in flight is done again
    with pytest.raises(spectra.InputError, match="precision"):
        spectra.analyze(weights, run_dir=tmp_path / "run", precision="float64")
    weights["0.kernel"][0, 0] += 1
    with pytest.raises(spectra.InputError, match="run"):
        spectra.analyze(weights, run_dir=tmp_path / "run")
