"""Bad input gives one line that names the file, what is wrong and what to do, whatever the bytes are."""

import io
import json
import os
import pickle
import shutil
import struct
import zipfile

import flax.serialization
import msgpack
import numpy as np
import orbax.checkpoint as ocp
import pytest
import safetensors.numpy
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from spectra.errors import CheckpointError, InputError
from spectra.models.formats import open_source

ARRAYS = {"layer.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "layer.bias": np.ones(5, np.float16)}


def safetensors_bytes():
    return safetensors.numpy.save(ARRAYS)


def npz_bytes(save=np.savez):
    buffer = io.BytesIO()
    save(buffer, **ARRAYS)
    return buffer.getvalue()


def npy_bytes():
    buffer = io.BytesIO()
    np.save(buffer, ARRAYS["layer.weight"])
    return buffer.getvalue()


def torch_bytes(zipped=True):
    buffer = io.BytesIO()
    content = {name: torch.from_numpy(array) for name, array in ARRAYS.items()}
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


FILES = {
    "m.safetensors": safetensors_bytes(),
    "m.npz": npz_bytes(),
    "compressed.npz": npz_bytes(np.savez_compressed),
    "m.npy": npy_bytes(),
    "m.pt": torch_bytes(),
    "legacy.pth": torch_bytes(zipped=False),
    "m.msgpack": flax.serialization.msgpack_serialize(dict(ARRAYS)),
}


def read_all(path):
    source = open_source(path)
    try:
        return {info.name: np.asarray(source.read(info.name)) for info in source.tensors}
    finally:
        source.close()


def outcome(path):
    """The arrays, or None where it was refused with one line that names the path."""
    try:
        return read_all(path)
    except InputError as error:
        message = str(error)
    assert str(path) in message
    assert "\n" not in message
    return None


def refused(path, match=None):
    """Opening or reading it must fail with the one line that is promised."""
    with pytest.raises(InputError, match=match) as caught:
        read_all(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 700
    assert "; " in message  # what is wrong; what to do
    return message


@pytest.mark.parametrize("name", FILES)
def test_the_undamaged_files_are_fine(tmp_path, name):
    (tmp_path / name).write_bytes(FILES[name])
    assert all(np.isfinite(array).all() for array in read_all(tmp_path / name).values())


def test_missing_empty_and_special(tmp_path):
    refused(tmp_path / "missing.pt", "no such file or directory; check the path")
    refused(tmp_path, "the directory holds no checkpoint")
    for name in [*FILES, "m.bin", "no_suffix", "x.index.json"]:
        (tmp_path / name).write_bytes(b"")
        refused(tmp_path / name, "is empty")
    os.mkfifo(tmp_path / "pipe.pt")
    refused(tmp_path / "pipe.pt", "not a regular file")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused(tmp_path / "loop")
    (tmp_path / ("x" * 100)).mkdir()
    refused(tmp_path / ("x" * 300))
    with pytest.raises(CheckpointError, match="no such file"):
        open_source("")
    with pytest.raises(CheckpointError, match=r"cannot be read|no such file"):
        open_source("a\0b")
    with pytest.raises(CheckpointError, match=r"^new line \\x1b\[31m\.pt: no such") as caught:
        open_source("new\nline \x1b[31m.pt")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", FILES)
def test_truncation_at_any_point(tmp_path, name):
    content = FILES[name]
    cuts = {1, 4, 7, 8, 9, 20, len(content) // 4, len(content) // 2, len(content) - 30, len(content) - 1}
    for cut in sorted(cuts):
        (tmp_path / name).write_bytes(content[:cut])
        refused(tmp_path / name)


def test_file_that_shrinks_after_it_was_opened(tmp_path):
    for name in ("m.safetensors", "m.npy", "m.msgpack"):
        path = tmp_path / name
        path.write_bytes(FILES[name])
        source = open_source(path)
        os.truncate(path, 100)
        with pytest.raises(CheckpointError, match=f"{name}: tensor '"):
            source.read(source.tensors[-1].name)
        path.unlink()
        with pytest.raises(CheckpointError, match=f"{name}: tensor '.*no such file"):
            source.read(source.tensors[0].name)
    np.savez(tmp_path / "big.npz", w=np.ones(100_000))
    source = open_source(tmp_path / "big.npz")
    os.truncate(tmp_path / "big.npz", 100_000)
    with pytest.raises(CheckpointError, match=r"big\.npz: tensor 'w'"):
        source.read("w")


FOREIGN = {
    "jpeg": (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(100), "is a JPEG image"),
    "text": (b"hello, this is not a checkpoint\n" * 9, "; "),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(100), "is a gzip archive; unpack"),
    "random": (np.random.default_rng(0).bytes(5000), "; "),
    "zeros": (bytes(5000), "; "),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "gguf": (b"GGUF\x03\x00\x00\x00" + bytes(100), "the GGUF format is not supported; convert it to safetensors"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(100), r"the HDF5 \(Keras\) format is not supported; convert it"),
    "onnx": (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0" + bytes(100), "the ONNX format is not supported; convert it"),
    "tflite": (b"\x1c\x00\x00\x00TFL3" + bytes(100), "TensorFlow Lite format is not supported"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_files_under_every_name(tmp_path, kind):
    content, message = FOREIGN[kind]
    for name in [*FILES, "m.bin", "m.ckpt", "no_suffix"]:
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, message)
    (tmp_path / "model.safetensors.index.json").write_bytes(content)
    refused(tmp_path / "model.safetensors.index.json", "weight_map")


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_foreign_containers(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", "x")
    refused(tmp_path / "model.keras", "the Keras format is not supported; convert it to safetensors")
    for name in ("m.npz", "m.pt"):
        shutil.copy(tmp_path / "model.keras", tmp_path / name)
        refused(tmp_path / name)
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "saved_model.pb").write_bytes(b"x")
    refused(saved, "TensorFlow SavedModel format is not supported; convert it")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "script.pt")
    refused(tmp_path / "script.pt", "TorchScript")


@pytest.mark.parametrize("name", [*FILES, "folder"])
def test_permission_denied(tmp_path, name, monkeypatch):
    path = tmp_path / name
    path.mkdir() if name == "folder" else path.write_bytes(FILES[name])

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    # the tests may run as root, who is denied nothing
    monkeypatch.setattr("pathlib.Path.iterdir" if name == "folder" else "pathlib.Path.open", denied)
    refused(path, "permission denied; make it readable")


# safetensors


def with_header(header, data=bytes(64)):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


LYING_HEADERS = {
    "out of file": with_header({"w": entry([32], 0, 128)}),
    "overlapping": with_header({"w": entry([8], 0, 32), "v": entry([12], 16, 64)}),
    "gap": with_header({"w": entry([4], 0, 16), "v": entry([8], 32, 64)}),
    "reversed": with_header({"w": entry([16], 64, 0)}),
    "negative offset": with_header({"w": entry([16], -64, 0)}),
    "negative shape": with_header({"w": entry([-16], 0, 64)}),
    "absurd shape": with_header({"w": entry([2**40, 2**40], 0, 64)}),
    "overflowing shape": with_header({"w": entry([2**32, 2**32, 4], 0, 64)}),
    "fractional shape": with_header({"w": entry([1.5], 0, 64)}),
    "unknown dtype": with_header({"w": entry([16], 0, 64, "F33")}),
    "no offsets": with_header({"w": {"dtype": "F32", "shape": [16]}}),
    "a list": with_header([1, 2, 3]),
    "no tensors": with_header({}, b""),
    "no json": with_header(b"{" * 3000),
    "not utf-8": with_header(b'{"\xff\xfe": 1}'),
    "length 2**63": struct.pack("<Q", 2**63) + b"{}",
    "length 2**64-1": struct.pack("<Q", 2**64 - 1) + b"{}" + bytes(100),
    "length beyond the end": struct.pack("<Q", 10_000) + b'{"w"' + bytes(100),
    "duplicate": with_header(
        b'{"w":{"dtype":"F32","shape":[8],"data_offsets":[0,32]},"w":{"dtype":"F32","shape":[8],"data_offsets":[32,64]}}'
    ),
    "duplicate offsets": with_header(b'{"w":{"dtype":"F32","shape":[16],"data_offsets":[0,64],"data_offsets":[0,64]}}'),
}


@pytest.mark.parametrize("lie", LYING_HEADERS)
def test_safetensors_headers_that_lie(tmp_path, lie):
    (tmp_path / "m.safetensors").write_bytes(LYING_HEADERS[lie])
    refused(tmp_path / "m.safetensors")


def test_a_lying_shard_names_the_shard(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(FILES["m.safetensors"])
    (tmp_path / "b.safetensors").write_bytes(FILES["m.safetensors"][:-1])
    with pytest.raises(CheckpointError, match=r"b\.safetensors: cannot be read"):
        open_source(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"w": 3}}', "[" * 99_999])
def test_index_files_that_are_none(tmp_path, text):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(text)
    refused(path)


# numpy


def npy_with(header, data=b""):
    text = repr(header).encode() if not isinstance(header, bytes) else header
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def descr(shape, dtype="<f4"):
    return {"descr": dtype, "fortran_order": False, "shape": shape}


LYING_ARRAYS = {
    "huge": npy_with(descr((2**40, 2**20)), bytes(64)),
    "overflow": npy_with(descr((2**32, 2**32)), bytes(64)),
    "negative": npy_with(descr((-1,)), bytes(64)),
    "two negatives": npy_with(descr((-4, -4)), bytes(64)),
    "too small": npy_with(descr((2,)), bytes(64)),
    "code": npy_with(b"{'descr': __import__('os').abort(), 'fortran_order': False, 'shape': ()}"),
    "structured": npy_with(descr((2,), [("a", "<f4"), ("b", "<f4")]), bytes(16)),
    "objects": npy_with(descr((1,), "|O"), pickle.dumps(["x"])),
    "version 9": b"\x93NUMPY\x09\x00" + bytes(100),
    "long header": npy_with(b"(" * 60_000),
}


@pytest.mark.parametrize("lie", LYING_ARRAYS)
def test_numpy_headers_that_lie(tmp_path, lie):
    (tmp_path / "m.npy").write_bytes(LYING_ARRAYS[lie])
    refused(tmp_path / "m.npy")
    with zipfile.ZipFile(tmp_path / "m.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", LYING_ARRAYS[lie])
    refused(tmp_path / "m.npz", "tensor 'w'" if lie not in ("code", "version 9", "long header") else None)


def test_numpy_files_of_python_2_are_read_in_silence(tmp_path, recwarn):
    (tmp_path / "m.npy").write_bytes(npy_with(b"{'descr': '<f4', 'fortran_order': False, 'shape': (4L,)}", bytes(16)))
    assert read_all(tmp_path / "m.npy")["m"].tolist() == [0, 0, 0, 0]
    assert not recwarn.list


def test_zip_that_claims_an_impossible_size(tmp_path):
    content = bytearray(npz_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = struct.pack("<I", 2**32 - 2)  # the uncompressed size
    (tmp_path / "m.npz").write_bytes(content)
    refused(tmp_path / "m.npz", "impossible size")


def test_objects_in_an_archive_leave_the_rest_readable(tmp_path):
    np.savez(tmp_path / "m.npz", bad=np.array([Trap(tmp_path)], object), good=np.ones(3))
    source = open_source(tmp_path / "m.npz")
    assert source.read("good").tolist() == [1, 1, 1]
    with pytest.raises(CheckpointError, match=r"m\.npz: tensor 'bad': .*pickled Python objects"):
        source.read("bad")
    assert not (tmp_path / "sprung").exists()


def test_damaged_data_fails_the_checksum(tmp_path):
    np.savez(tmp_path / "m.npz", good=np.ones(3), bad=np.full(10_000, 7.0))
    content = bytearray((tmp_path / "m.npz").read_bytes())
    content[content.index(np.full(9, 7.0).tobytes()) + 70_000] ^= 1
    (tmp_path / "m.npz").write_bytes(content)
    assert open_source(tmp_path / "m.npz").read("good").tolist() == [1, 1, 1]
    refused(tmp_path / "m.npz", "tensor 'bad': .*CRC")


# PyTorch


class Trap:
    """Unpickling it leaves a file behind."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (os.path.join(self.folder, "sprung"),)


def test_pickles_that_would_run_code(tmp_path):
    content = {"w": torch.ones(2), "trap": Trap(tmp_path)}
    torch.save(content, tmp_path / "zip.pt")
    torch.save(content, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Trap(tmp_path)))
    (tmp_path / "bare.bin").write_bytes(pickle.dumps(Trap(tmp_path), protocol=4))
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Trap(tmp_path), protocol=0))
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    for name in ("zip.pt", "legacy.pt", "module.pt"):
        refused(tmp_path / name, "could run code and are refused; re-save it with safetensors")
    for name in ("bare.pt", "bare.bin", "old.pt"):
        refused(tmp_path / name)
    assert not (tmp_path / "sprung").exists()
    with zipfile.ZipFile(tmp_path / "zip.pt") as archive, pytest.raises(Exception, match="persistent"):
        pickle.loads(archive.read("zip/data.pkl"))  # the file is whole: pickle gets as far as the first tensor
    pickle.loads((tmp_path / "bare.pt").read_bytes())
    assert (tmp_path / "sprung").exists()  # and the trap does spring


def test_compressed_torch_archives_are_not_mapped(tmp_path):
    (tmp_path / "m.pt").write_bytes(FILES["m.pt"])
    with (
        zipfile.ZipFile(tmp_path / "m.pt") as archive,
        zipfile.ZipFile(tmp_path / "squeezed.pt", "w", zipfile.ZIP_DEFLATED) as squeezed,
    ):
        for member in archive.namelist():
            squeezed.writestr(member, archive.read(member))
    refused(tmp_path / "squeezed.pt", "compressed zip")


def test_torch_files_without_weights(tmp_path):
    torch.save({"epoch": 3, "optimizer": {"state": {0: torch.ones(2)}}}, tmp_path / "m.pt")
    refused(tmp_path / "m.pt", "holds no tensors")


# Flax msgpack


def array_ext(shape, dtype, data, code=1):
    return msgpack.ExtType(code, msgpack.packb((shape, dtype, data), use_bin_type=True))


LYING_MSGPACK = {
    "too short": {"w": array_ext((4, 4), "float32", bytes(60))},
    "absurd": {"w": array_ext((2**40, 2**40), "float32", bytes(60))},
    "negative": {"w": array_ext((-15,), "float32", bytes(60))},
    "object": {"w": array_ext((1,), "object", bytes(8))},
    "unknown": {"w": array_ext((1,), "float99", bytes(8))},
    "no array": {"w": msgpack.ExtType(1, b"\xc3")},
    "nothing": {"a": 1, "b": {"c": "text"}},
    "no chunks": {"w": {"__msgpack_chunked_array__": True, "shape": {"0": 1}, "chunks": {}}},
    "odd chunks": {"w": {"__msgpack_chunked_array__": True, "shape": 3, "chunks": "text"}},
    "missing chunk": {"w": {"__msgpack_chunked_array__": True, "shape": {"0": 1}, "chunks": {"1": 2}}},
}


@pytest.mark.parametrize("lie", LYING_MSGPACK)
def test_msgpack_that_lies(tmp_path, lie):
    (tmp_path / "m.msgpack").write_bytes(msgpack.packb(LYING_MSGPACK[lie]))
    refused(tmp_path / "m.msgpack")


def test_msgpack_structures_that_lie(tmp_path):
    one = msgpack.packb("w") + msgpack.packb(array_ext((1,), "float32", bytes(4)))
    for content in (
        b"\x81" + one + b"\x00",  # more after the end
        b"\x82" + one + one,  # the same key twice
        b"\xdf\xff\xff\xff\xff" + one,  # four billion keys
        b"\x81\xa1w\xdd\xff\xff\xff\xff",  # a list of four billion
        b"\x81\xa1w\xc6\xff\xff\xff\xff",  # four gigabytes
        b"\x81\xa1w" * 5000,  # deeper than the stack
        b"\x81\xa1w\xc1",  # a byte that msgpack never uses
    ):
        (tmp_path / "m.msgpack").write_bytes(content)
        refused(tmp_path / "m.msgpack")


# Orbax


@pytest.fixture(scope="module")
def orbax_checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("orbax") / "m"
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, {"params": {"layer": {"kernel": np.arange(12.0).reshape(3, 4), "bias": np.ones(4)}}})
    return path


def files_of(path):
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


def test_orbax_with_a_file_lost_emptied_or_cut(tmp_path, orbax_checkpoint, capfd):
    intact = read_all(orbax_checkpoint)
    hurt = 0
    for name in files_of(orbax_checkpoint):
        for damage in ("lost", "empty", "cut"):
            copy = tmp_path / f"{damage}-{name.replace('/', '-')}"
            shutil.copytree(orbax_checkpoint, copy)
            if damage == "lost":
                (copy / name).unlink()
            else:
                os.truncate(copy / name, 0 if damage == "empty" else (copy / name).stat().st_size // 2)
            found = outcome(copy)
            hurt += found is None
            if found is not None:  # not all files matter to a reader
                assert found.keys() == intact.keys()
                assert all(np.array_equal(found[key], intact[key]) for key in intact)
    assert hurt >= 6
    assert capfd.readouterr() == ("", "")


def test_directories_that_only_look_like_orbax(tmp_path):
    for name, content in {"_METADATA": b"{}", "manifest.ocdbt": b"junk"}.items():
        folder = tmp_path / name.strip("_.")
        folder.mkdir()
        (folder / name).write_bytes(content)
        refused(folder)


# fuzzing: any bytes give an error of ours, or arrays


@st.composite
def damages(draw):
    """(name, edits): bytes replaced at places relative to the length, and perhaps a cut."""
    name = draw(st.sampled_from(sorted(FILES)))
    size = len(FILES[name])
    # headers are where the structure is: half of the edits go there
    places = st.one_of(st.integers(0, min(size, 160) - 1), st.integers(0, size - 1), st.integers(size - 120, size - 1))
    edits = draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6))
    return name, edits, draw(st.one_of(st.none(), st.integers(1, size)))


@settings(max_examples=700, deadline=5000, suppress_health_check=list(HealthCheck))
@given(damages())
@example(("m.msgpack", [(0, 0xDF)], None))
def test_damaged_bytes_raise_nothing_foreign(tmp_path_factory, damage):
    name, edits, cut = damage
    content = bytearray(FILES[name])
    for place, byte in edits:
        content[place] = byte
    path = tmp_path_factory.getbasetemp() / f"fuzz-{name}"
    path.write_bytes(content[:cut])
    outcome(path)


@settings(max_examples=25, deadline=5000, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_damaged_orbax_raises_nothing_foreign(tmp_path_factory, orbax_checkpoint, data):
    copy = tmp_path_factory.getbasetemp() / "fuzz-orbax"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(orbax_checkpoint, copy)
    names = [name for name in files_of(copy) if (copy / name).stat().st_size]
    path = copy / data.draw(st.sampled_from(names))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    outcome(copy)
