"""The journal: what it gives back, what it refuses, and what is left after kills, damage and full disks."""

from __future__ import annotations

import errno
import json
import math
import os
import resource
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save_file

import spectra
from spectra.engine import identity
from spectra.engine.identity import fingerprint, run_identity
from spectra.engine.journal import Journal, stored
from spectra.engine.options import Options
from spectra.engine.records import MARK, find_records, frame, pack_result, unpack_result
from spectra.errors import InputError, OutputError
from spectra.models.formats import open_source
from spectra.report.result import LayerResult, WeightHistogram

RUN = {"spectra": "1.0", "options": {"precision": "float64", "layers": ("a*",)}, "models": {"m": {"count": 1}}}


def layer(name: str, status: str = "success", **metrics: Any) -> LayerResult:
    rng = np.random.default_rng(len(name))
    counts = WeightHistogram(np.linspace(-1, 1, 5, dtype=np.float32), rng.integers(0, 9, 4), 0, 1)
    values = {"M": 4, "alpha": 2.5, "xmin": None, "method": "gram", **metrics}
    return LayerResult(name, "dense", "mlp", 3, (4, 8), "bfloat16", status, "", values, counts, None, rng.random(4))


def bits(value: Any) -> Any:
    """Type and bits of a value: equal only for what is equal to the last bit."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, float):
        return "float", struct.pack("<d", value)
    if isinstance(value, dict):
        return [(key, bits(item)) for key, item in value.items()]
    if isinstance(value, tuple):
        return type(value).__name__, [bits(item) for item in value]
    return type(value).__name__, value


def same(a: LayerResult, b: LayerResult) -> bool:
    return all(bits(getattr(a, field.name)) == bits(getattr(b, field.name)) for field in fields(LayerResult))


def add(folder: Path, *names: str, writer: int = 0) -> None:
    with Journal(folder, RUN, writer) as journal:
        for name in names:
            journal.add("m", layer(name))


def names(folder: Path, writer: int = 0) -> list[str]:
    with Journal(folder, RUN, writer) as journal:
        return [name for _, name in journal.finished]


def refused(folder: Path, run: Any = RUN, writer: int = 0) -> str:
    with pytest.raises(InputError) as caught:
        Journal(folder, run, writer)
    line = str(caught.value)
    assert str(folder) in line and "\n" not in line
    return line


# What is written comes back.

text = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates, as in names of files, included
numbers = st.floats(allow_nan=True, width=64) | st.sampled_from([-0.0, math.nan, math.inf, 5e-324])
metric = st.none() | text | numbers | st.integers() | st.booleans()
dtypes = hnp.floating_dtypes(sizes=(32, 64), endianness="=") | hnp.integer_dtypes(endianness="=")
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=5))
histograms = st.builds(WeightHistogram, arrays, arrays, st.integers(0, 2**70), st.integers(0, 9))
results = st.builds(
    LayerResult,
    *(text, text, text, st.none() | st.integers(0, 99), st.lists(st.integers(0, 2**40), max_size=4).map(tuple)),
    *(text, st.sampled_from(["success", "skipped", "failed"]), text, st.dictionaries(text, metric, max_size=8)),
    *(st.none() | histograms, st.none() | histograms, st.none() | arrays),
)


@given(label=text, result=results)
@settings(max_examples=150, deadline=None)
def test_results_come_back_equal_to_the_last_bit(label: str, result: LayerResult) -> None:
    found, back = unpack_result(pack_result(label, result))
    assert found == label and same(back, result)
    assert back.eigenvalues is None or back.eigenvalues.flags.writeable


def test_numpy_scalars_become_python_numbers_of_the_same_value() -> None:
    result = layer("a", a=np.float64(0.1), b=np.int64(7), c=np.float32(0.1), d=np.bool_(True), e=np.str_("t"))
    metrics = unpack_result(pack_result("m", result))[1].metrics
    assert bits([metrics[key] for key in "abcde"]) == bits([0.1, 7, float(np.float32(0.1)), True, "t"])


@pytest.mark.parametrize("value", [object(), {1}, np.zeros(2, "O"), np.zeros(2, ml_dtypes.bfloat16), 1j])
def test_what_cannot_be_kept_is_an_error_and_not_written(tmp_path: Path, value: Any) -> None:
    with Journal(tmp_path, RUN) as journal:
        with pytest.raises(TypeError, match="cannot hold"):
            journal.add("m", layer("a", x=value))
        journal.add("m", layer("b"))
    assert names(tmp_path) == ["b"]


def test_a_report_from_the_journal_is_the_report_byte_for_byte(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    params = {"a": {"kernel": rng.standard_t(3, (40, 30)), "bias": rng.normal(size=30)}}
    params["broken"] = {"kernel": np.full((30, 30), np.nan)}
    report = spectra.analyze(params)
    with Journal(tmp_path / "run", RUN) as journal:
        for result in report:
            journal.add(report.label, result)
    kept = [result for _, result in stored(tmp_path / "run")["layers-0000.journal"].layers]
    assert all(map(same, kept, report.layers))
    for suffix in ("csv", "json"):
        report.save(tmp_path / f"a.{suffix}")
        replace(report, layers=tuple(kept)).save(tmp_path / f"b.{suffix}")
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet there"
    add(folder, "a", "b")
    with Journal(folder, RUN) as journal:
        assert list(journal.finished) == [("m", "a"), ("m", "b")]
        assert same(journal.finished["m", "a"], layer("a"))
        journal.add("m", layer("c"))
        journal.add("other", layer("a", alpha=9.0))  # the same name in another model
    with Journal(folder, RUN) as journal:
        assert list(journal.finished) == [("m", "a"), ("m", "b"), ("m", "c"), ("other", "a")]
        assert journal.finished["m", "a"].metrics["alpha"] == 2.5
        assert journal.damage == ()


def test_failed_layers_are_kept_but_tried_again(tmp_path: Path) -> None:
    with Journal(tmp_path, RUN) as journal:
        journal.add("m", layer("a", "failed"))
        journal.add("m", layer("b", "skipped"))
    assert names(tmp_path) == ["b"]
    assert len(stored(tmp_path)["layers-0000.journal"].layers) == 2
    with Journal(tmp_path, RUN) as journal:
        journal.add("m", layer("a"))
    assert names(tmp_path) == ["b", "a"]


def test_the_last_record_of_a_layer_counts(tmp_path: Path) -> None:
    with Journal(tmp_path, RUN) as journal:
        journal.add("m", layer("a", alpha=1.0))
        journal.add("m", layer("a", alpha=2.0))
    with Journal(tmp_path, RUN) as journal:
        assert journal.finished["m", "a"].metrics["alpha"] == 2.0


def test_every_writer_reads_all_files(tmp_path: Path) -> None:
    for writer in range(3):
        add(tmp_path, f"of {writer}", writer=writer)
    assert names(tmp_path) == ["of 0", "of 1", "of 2"]
    assert names(tmp_path, writer=7) == ["of 0", "of 1", "of 2"]
    whole = (tmp_path / "layers-0001.journal").read_bytes()
    (tmp_path / "layers-0001.journal").write_bytes(whole[:-3])
    assert names(tmp_path) == ["of 0", "of 2"]
    assert (tmp_path / "layers-0001.journal").read_bytes() == whole[:-3]  # only its writer cuts it back
    assert names(tmp_path, writer=1) == ["of 0", "of 2"]
    assert len((tmp_path / "layers-0001.journal").read_bytes()) < len(whole) - 3


def test_names_of_any_kind(tmp_path: Path) -> None:
    hostile = ["", "\x00", "a\nb", "../../etc", "ü λ 漢 🙂", "\udcff", "x" * 100_000, MARK.decode("latin-1") * 3]
    with Journal(tmp_path, RUN) as journal:
        for name in hostile:
            journal.add(name[:50], layer(name))
    with Journal(tmp_path, RUN) as journal:
        assert set(journal.finished) == {(name[:50], name) for name in hostile}


def test_threads_add_at_the_same_time(tmp_path: Path) -> None:
    with Journal(tmp_path, RUN) as journal:
        work = [threading.Thread(target=lambda i=i: [journal.add("m", layer(f"{i}.{j}")) for j in range(10)])
                for i in range(8)]  # fmt: skip
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
    assert sorted(names(tmp_path)) == sorted(f"{i}.{j}" for i in range(8) for j in range(10))


def test_a_result_is_on_disk_when_add_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync
    with Journal(tmp_path, RUN) as journal:
        monkeypatch.setattr(os, "fsync", lambda file: (synced.append(os.fstat(file).st_size), fsync(file)))
        journal.add("m", layer("a"))
        assert synced == [journal.path.stat().st_size]


# Torn and damaged files.


@pytest.fixture
def three(tmp_path: Path) -> tuple[Path, list[int]]:
    """A file with the layers a, b, c, and where each record ends."""
    ends = []
    with Journal(tmp_path, RUN) as journal:
        for name in "abc":
            journal.add("m", layer(name))
            ends.append(journal.path.stat().st_size)
    return journal.path, ends


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """For files opened a thousand times."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.mark.usefixtures("quick")
def test_a_torn_last_record_is_dropped_wherever_it_tears(three: tuple[Path, list[int]]) -> None:
    path, ends = three
    whole = path.read_bytes()
    for length in range(ends[1], ends[2]):
        path.write_bytes(whole[:length])
        with Journal(path.parent, RUN) as journal:
            assert [name for _, name in journal.finished] == ["a", "b"] and not journal.damage
            assert path.stat().st_size == ends[1]
    add(path.parent, "c")
    assert path.read_bytes() == whole


def test_a_file_torn_at_its_beginning_starts_again(three: tuple[Path, list[int]]) -> None:
    path, _ = three
    whole = path.read_bytes()
    for length in range(32):
        path.write_bytes(whole[:length])
        assert names(path.parent) == []
        assert path.read_bytes() == whole[:32]


def test_zeros_after_a_power_failure_are_cut_off(three: tuple[Path, list[int]]) -> None:
    path, ends = three
    path.write_bytes(path.read_bytes() + bytes(5000))
    assert names(path.parent) == ["a", "b", "c"] and path.stat().st_size == ends[2]


@pytest.mark.usefixtures("quick")
def test_a_flipped_bit_costs_its_record_and_no_other(three: tuple[Path, list[int]]) -> None:
    path, ends = three
    whole = path.read_bytes()
    begin = 32
    for position in [*range(begin, begin + 40), *range(begin + 40, ends[2], 29)]:
        broken = bytearray(whole)
        broken[position] ^= 1 << position % 8
        path.write_bytes(broken)
        lost = sum(position >= end for end in ends)
        with Journal(path.parent, RUN) as journal:
            assert [name for _, name in journal.finished] == [name for i, name in enumerate("abc") if i != lost]
            assert all(same(result, layer(name)) for (_, name), result in journal.finished.items())
            assert len(journal.damage) == (lost < 2)
        if lost < 2:
            assert path.read_bytes() == bytes(broken)  # nothing is thrown away


def test_damage_in_the_middle_is_told_and_the_run_goes_on(three: tuple[Path, list[int]]) -> None:
    path, ends = three
    broken = bytearray(path.read_bytes())
    del broken[ends[0] + 10 : ends[1] - 10]
    path.write_bytes(broken)
    with Journal(path.parent, RUN) as journal:
        assert [name for _, name in journal.finished] == ["a", "c"]
        assert journal.damage == (
            f"{path}: 20 bytes between whole records are damaged; the layers they held are computed again",
        )
        journal.add("m", layer("b"))
    assert sorted(names(path.parent)) == ["a", "b", "c"]


def test_a_record_inside_another_is_never_taken_for_one() -> None:
    """Neither in a whole one nor in a damaged one, unless it was made with the key of the run."""
    key, other = bytes(16), bytes(15) + b"1"
    inner = {key: frame(b"inner", key), other: frame(b"inner", other)}
    for made_with, record in inner.items():
        outer = frame(pack_result("m", replace(layer("a"), eigenvalues=np.frombuffer(record, np.uint8))), key)
        assert [found.end for found in find_records(outer, key)] == [len(outer)]
        broken = outer.replace(b"dense", b"Dense")
        assert len(list(find_records(broken, key))) == (made_with == key)


def test_files_of_another_run_are_refused(three: tuple[Path, list[int]], tmp_path: Path) -> None:
    path, _ = three
    other = tmp_path / "other"
    with Journal(other, {**RUN, "spectra": "2.0"}) as journal:
        journal.add("m", layer("x"))
    shutil.copy(path, other / "layers-0001.journal")
    line = refused(other, {**RUN, "spectra": "2.0"})
    assert "layers-0001.journal: belongs to another run; use another directory" in line
    whole = path.read_bytes()
    path.write_bytes(b"#" + whole[1:])
    assert "its beginning is damaged" in refused(path.parent)
    path.write_bytes(whole)
    (path.parent / "run.json").unlink()
    assert "belongs to another run" in refused(path.parent, {**RUN, "spectra": "2.0"})
    assert names(path.parent) == ["a", "b", "c"]  # of the same run: no harm done


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"journal": 1}', b"\xff\xfe", b'{"identity": {}}'])
def test_a_damaged_run_json_is_refused(tmp_path: Path, content: bytes) -> None:
    add(tmp_path, "a")
    (tmp_path / "run.json").write_bytes(content)
    assert "run.json: is damaged or of another program; use another directory" in refused(tmp_path)


def test_a_changed_run_json_is_refused(tmp_path: Path) -> None:
    add(tmp_path, "a")
    path = tmp_path / "run.json"
    whole = path.read_text()
    path.write_text(whole.replace("float64", "float32"))
    assert "is damaged" in refused(tmp_path)
    path.write_text(whole.replace('"journal": 1', '"journal": 2'))
    assert "holds a journal of format 2, not 1" in refused(tmp_path)


# Another run than the one on disk.


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ({**RUN, "spectra": "1.1"}, "holds a run with spectra=1.0, this one has spectra=1.1"),
        ({**RUN, "options": {**RUN["options"], "precision": "float32"}},
         "holds a run with precision=float64, this one has precision=float32"),
        ({**RUN, "options": {**RUN["options"], "layers": []}}, "holds a run with layers=a*, this one has layers=none"),
        ({**RUN, "options": {**RUN["options"], "layers": ["a*", "b\n"]}}, "this one has layers=a*,b"),
        ({**RUN, "options": {"layers": ["a*"]}}, "precision=float64, this one has precision=none"),
        ({**RUN, "options": {**RUN["options"], "gof": 5}}, "holds a run with gof=none, this one has gof=5"),
        ({**RUN, "models": {"n": {"count": 1}}}, "holds a run of m, this one is of n"),
        ({**RUN, "models": {**RUN["models"], "n": {}}}, "holds a run of m, this one is of m,n"),
        ({**RUN, "models": {"m": {"count": 2}}}, "a run of m as it was before it changed: its tensors are others"),
    ],
)  # fmt: skip
def test_another_run_is_refused(tmp_path: Path, run: Any, told: str) -> None:
    add(tmp_path, "a")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    line = refused(tmp_path, run, writer=1)
    assert line == f"{tmp_path}: holds {line.partition(': holds ')[2]}"
    assert told in line and line.endswith("; use another directory, or delete this one to start afresh")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_same_run_is_the_same_in_whatever_types(tmp_path: Path) -> None:
    add(tmp_path, "a")
    again = {**RUN, "options": {"layers": ["a*"], "precision": "float64"}}
    Journal(tmp_path, dict(reversed(again.items()))).close()


def test_identity_holds_versions_options_and_models() -> None:
    options = Options(precision="float64")
    found = run_identity(options, [("a", {"count": 1}), ("b", {"count": 2}), ("a", {"count": 1})], "lapack")
    assert found["options"]["precision"] == "float64" and list(found["models"]) == ["a", "b"]
    assert {"spectra", "jax", "jaxlib", "numpy", "scipy"} < set(found)
    assert found["options"]["backend"] == "lapack"
    with pytest.raises(InputError, match="two different models are called 'a'"):
        run_identity(options, [("a", {"count": 1}), ("a", {"count": 2})], "lapack")


# Fingerprints.


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(16, 12)).astype(np.float32) for name in ("a.weight", "b.weight")}


def of(target: Any, *leave_out: Path) -> dict[str, Any]:
    source = open_source(target)
    try:
        found = fingerprint(source, target, leave_out)
    finally:
        source.close()
    assert json.loads(json.dumps(found)) == found
    return found


def changes(tmp_path: Path, target: Any, change: Callable[[], object]) -> str:
    """What a journal says after the change; "" if it goes on."""
    folder = Path(f"{tmp_path}-run{time.monotonic_ns()}")
    Journal(folder, {"models": {"m": of(target)}}).close()
    change()
    try:
        Journal(folder, {"models": {"m": of(target)}}).close()
    except InputError as error:
        return str(error).partition("before it changed: ")[2].partition(";")[0]
    return ""


def test_a_file_counts_with_all_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file(weights(), path)
    times = path.stat()
    assert changes(tmp_path, path, lambda: os.utime(path)) == ""
    assert changes(tmp_path, path, lambda: save_file(weights(1), path)) == "m.safetensors has other content"
    save_file(weights(), path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    assert changes(tmp_path, path, lambda: path.write_bytes(data)) == "m.safetensors has other content"
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    more = {**weights(), "c.weight": np.ones((2, 2), np.float32)}
    assert changes(tmp_path, path, lambda: save_file(more, path)) == "m.safetensors has another size"


def test_a_copy_elsewhere_is_the_same_checkpoint(tmp_path: Path) -> None:
    save_file(weights(), tmp_path / "m.safetensors")
    (tmp_path / "there").mkdir()
    shutil.copyfile(tmp_path / "m.safetensors", tmp_path / "there" / "m.safetensors")
    assert of(tmp_path / "m.safetensors") == of(str(tmp_path / "there" / "m.safetensors"))


def test_a_large_file_counts_with_samples_and_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "WHOLE", 1 << 20)
    path = tmp_path / "m.npy"
    np.save(path, np.zeros((2048, 1024), np.float32))
    first = path.stat().st_mtime_ns
    assert changes(tmp_path, path, lambda: os.utime(path, ns=(0, first + 1))) == "m.npy has another time of writing"
    copy = tmp_path / "copy" / "m.npy"
    copy.parent.mkdir()
    shutil.copy2(path, copy)
    assert of(copy) == of(path)

    def overwrite(offset: int) -> None:
        with path.open("r+b") as file:
            file.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
            file.write(b"\x3f")
        os.utime(path, ns=(0, first))

    os.utime(path, ns=(0, first))
    assert changes(tmp_path, path, lambda: overwrite(-1)) == "m.npy has other content"  # although the time is the same
    assert changes(tmp_path, path, lambda: overwrite(200)) == "m.npy has other content"
    assert (
        changes(tmp_path, path, lambda: np.save(path, np.ones((2048, 1024), np.float32))) == "m.npy has other content"
    )


def shards(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number, (name, array) in enumerate(weights().items()):
        save_file({name: array}, folder / f"part{number}.safetensors")
    index = {"weight_map": {name: f"part{number}.safetensors" for number, name in enumerate(weights())}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_shards_count_whether_by_index_or_by_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shards(folder)
    index = folder / "model.safetensors.index.json"
    assert of(folder)["files"] == of(index)["files"] and len(of(index)["files"]) == 3
    for seed, target in enumerate((folder, index), 1):
        other = {"b.weight": weights(seed)["b.weight"]}
        told = changes(tmp_path, target, partial(save_file, other, folder / "part1.safetensors"))
        assert told == "part1.safetensors has other content"
    # what is not read does not matter: a results table, notes
    assert changes(tmp_path, folder, lambda: (folder / "layers.csv").write_text("x")) == ""
    assert changes(tmp_path, folder, lambda: shutil.copy(folder / "part0.safetensors", folder / "z.safetensors")) == (
        "z.safetensors is new"
    )
    assert changes(tmp_path, folder, lambda: (folder / "z.safetensors").unlink()) == "z.safetensors is missing"


def test_all_of_an_orbax_folder_counts(tmp_path: Path) -> None:
    import orbax.checkpoint as ocp

    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "ckpt", {"a": {"kernel": np.ones((16, 12), np.float32)}})
    assert changes(tmp_path, tmp_path / "ckpt", lambda: None) == ""
    results = tmp_path / "ckpt" / "run"
    results.mkdir()
    (results / "run.json").write_text("{}")
    assert of(tmp_path / "ckpt") != of(tmp_path / "ckpt", results)
    data = max((tmp_path / "ckpt").rglob("*"), key=lambda path: path.stat().st_size if "/d/" in str(path) else 0)
    before = of(tmp_path / "ckpt", results)
    os.utime(data)
    assert of(tmp_path / "ckpt", results) == before
    (tmp_path / "ckpt" / "loop").symlink_to(tmp_path / "ckpt")
    assert of(tmp_path / "ckpt", results) == before
    with data.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    source = open_source({"a.kernel": np.ones((2, 2))})  # the folder cannot be opened any more
    assert fingerprint(source, tmp_path / "ckpt", [results])["files"] != before["files"]


def test_parameters_in_memory_count_with_their_values() -> None:
    first = of(weights())
    assert of(weights()) == first and "files" not in first
    assert of(weights(1)) != first
    assert of({name: array.astype(ml_dtypes.bfloat16) for name, array in weights().items()}) != first
    assert of({name: array.T for name, array in weights().items()}) != first
    changed = weights()
    changed["b.weight"][3, 3] = np.nextafter(changed["b.weight"][3, 3], 9)
    assert of(changed) != first
    odd = {"w": np.ones((4, 4), ml_dtypes.bfloat16), "e": np.ones((0, 3)), "f": np.ones(())}
    assert of(odd) == of(odd)


# Other processes, and disks that will not.


def test_one_process_at_a_time_writes(tmp_path: Path) -> None:
    with Journal(tmp_path, RUN) as journal:
        assert refused(tmp_path) == (
            f"{tmp_path}: another process is at work on this run (layers-0000.journal is locked); "
            "wait for it or use another directory"
        )
        journal.add("m", layer("a"))
        assert names(tmp_path, writer=1) == ["a"]
    assert names(tmp_path) == ["a"]
    journal.close()
    with pytest.raises(OutputError, match="is closed"):
        journal.add("m", layer("b"))


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np
from spectra.engine.journal import Journal
from spectra.report.result import LayerResult

folder, layers, chance = Path(sys.argv[1]), 60, random.Random(int(sys.argv[2]))

def work():
    with Journal(folder, {"a": 1}) as journal:
        for number in range(layers):
            if ("m", str(number)) not in journal.finished:
                evals = np.arange(20_000.0) + number
                journal.add("m", LayerResult(str(number), "", "", None, (), "", "success", "", {}, None, None, evals))
                os.write(pipe, b"%d\\n" % number)
                time.sleep(0.003)

kills, told = 0, b""
while True:
    out, pipe = os.pipe()
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    os.close(pipe)
    time.sleep(chance.uniform(0, 0.06))
    if kills < 10:
        os.kill(child, signal.SIGKILL)
    told += b"".join(iter(lambda: os.read(out, 4096), b""))
    os.close(out)
    if os.waitpid(child, 0)[1] == 0:
        break
    kills += 1
print(kills, told.decode())
"""


def test_killed_at_random_times_it_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(time.time_ns())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    kills, *told = done.stdout.split()
    assert int(kills) > 0
    content = stored(tmp_path)["layers-0000.journal"]
    found = [int(result.name) for _, result in content.layers]
    assert found == list(range(60))  # each once: nothing that was on disk has been computed again
    assert content.damaged == 0 and content.end == content.size
    assert len(told) == len(set(told)) and set(map(int, told)) <= set(found)  # what was told is on disk
    for _, result in content.layers:
        assert result.eigenvalues is not None and result.eigenvalues[0] == int(result.name)


def fill(folder: Path, limit: int = 500) -> tuple[int, str]:
    """Add until it fails: how many were added, and the line that said so."""
    with Journal(folder, RUN) as journal:
        for number in range(limit):
            try:
                journal.add("m", layer(f"layer {number}", text="x" * 700))
            except OutputError as error:
                with pytest.raises(OutputError, match="cannot be written"):
                    journal.add("m", layer("after"))  # nothing may follow what was torn
                return number, str(error)
    raise AssertionError("the disk never filled up")


def check_filled(folder: Path, added: int, line: str, reason: str) -> None:
    kept = "what was finished is kept, make room and give the same command again"
    assert line == f"{folder / 'layers-0000.journal'}: cannot be written ({reason}); {kept}"
    content = stored(folder)["layers-0000.journal"]
    assert [result.name for _, result in content.layers] == [f"layer {i}" for i in range(added)] and added > 3
    assert content.end == content.size  # what was half written has been taken back


@pytest.fixture
def small_files() -> Iterator[None]:
    """The kernel lets files grow to 8,000 bytes: writes beyond are cut short, then refused."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    check_filled(tmp_path, *fill(tmp_path), "File too large")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    left, write = [6000], os.write

    def limited(file: int, data: Any) -> int:
        if left[0] <= 0:
            raise OSError(code, os.strerror(code))
        written = write(file, data[: left[0]])
        left[0] -= written
        return written

    monkeypatch.setattr(os, "write", limited)
    added, line = fill(tmp_path)
    monkeypatch.undo()
    check_filled(tmp_path, added, line, os.strerror(code))
    assert len(names(tmp_path)) == added


ON_A_FULL_DISK = """
mount -t tmpfs -o size=64k tmpfs "$1" 2>/dev/null || exit 77
"$2" -c 'import sys; from pathlib import Path; sys.path[:0] = [sys.argv[2]]
from test_journal import check_filled, fill
check_filled(Path(sys.argv[1]), *fill(Path(sys.argv[1])), "No space left on device")
print("checked")' "$1" "$3"
"""


def test_a_real_full_disk(tmp_path: Path) -> None:
    """In a mount of its own, which goes with the process; where that is not allowed the test above has to do."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return
    command = [unshare, "--mount", *(["--map-root-user"] if os.getuid() else []), "sh", "-c", ON_A_FULL_DISK, "sh"]
    arguments = [str(tmp_path), sys.executable, str(Path(__file__).parent)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=100)
    allowed = done.returncode != 77 and not done.stderr.startswith("unshare")
    assert done.stdout == "checked\n" or not allowed, done.stderr


def test_an_error_of_the_disk_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with Journal(tmp_path, RUN) as journal:
        journal.add("m", layer("a"))
        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(OutputError, match=r"Input/output error.*set that right and give the same command again"):
            journal.add("m", layer("b"))
        monkeypatch.undo()
        with pytest.raises(OutputError, match="Input/output error"):
            journal.add("m", layer("c"))
    assert names(tmp_path) == ["a"]


def test_an_interrupt_leaves_no_half_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def interrupted(file: int, data: Any) -> int:
        write(file, data[:100])
        raise KeyboardInterrupt

    with Journal(tmp_path, RUN) as journal:
        journal.add("m", layer("a"))
        monkeypatch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.add("m", layer("b"))
    monkeypatch.undo()
    content = stored(tmp_path)["layers-0000.journal"]
    assert len(content.layers) == 1 and content.end == content.size


def test_places_where_no_journal_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file: is a file; give the name of a directory"):
        Journal(tmp_path / "file", RUN)
    for folder in (tmp_path / "file" / "below", tmp_path / ("n" * 300), Path("/proc/spectra")):
        with pytest.raises(OutputError, match=r"cannot be read or written \(.*\); choose another directory"):
            Journal(folder, RUN)

    def read_only(path: Any, *_: Any) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(OutputError, match=r"layers-0000.journal: cannot be .* \(Read-only file system\)"):
        Journal(tmp_path, RUN)


def test_no_room_for_the_journal_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError, match="No space left on device"):
        Journal(tmp_path, RUN)
    monkeypatch.undo()
    assert {path.name for path in tmp_path.iterdir()} == {"layers-0000.journal"}
    assert names(tmp_path) == []  # and the lock is free


def test_without_locks_it_still_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spectra.engine.journal.fcntl", None)
    with Journal(tmp_path, RUN):
        assert names(tmp_path) == []
