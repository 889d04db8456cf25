"""The study's data sets, and files that are not what they should be."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest

from spectra.errors import InputError
from spectra.study import idx
from spectra.study.data import Dataset, first_images, random_labels, smaller
from spectra.study.idx import load_fashion_mnist, read_idx


def header(*shape: int) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sets of a few images, in the place of 70,000."""
    monkeypatch.setattr(idx, "PARTS", {"train": 3, "t10k": 2})
    monkeypatch.setattr(idx, "LABELS", {"train": zlib.crc32(bytes(range(3))), "t10k": zlib.crc32(bytes(range(2)))})


def write_set(place: Path, suffix: str = "") -> None:
    pack = gzip.compress if suffix else bytes
    for part, count in (("train", 3), ("t10k", 2)):
        images = header(count, 28, 28) + bytes(range(256)) * 10 * count
        images = images[: 16 + count * 784]
        (place / f"{part}-images-idx3-ubyte{suffix}").write_bytes(pack(images))
        (place / f"{part}-labels-idx1-ubyte{suffix}").write_bytes(pack(header(count) + bytes(range(count))))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files_are_read_as_they_are_and_compressed(tmp_path: Path, few: None, suffix: str):
    write_set(tmp_path, suffix)
    data = load_fashion_mnist(tmp_path)
    assert data.train_x.shape == (3, 784)
    assert data.train_x.dtype == np.float32
    assert data.train_x[0, 255] == 1.0
    assert data.train_x[0, 51] == np.float32(0.2)
    np.testing.assert_array_equal(data.test_y, [0, 1])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("train-images-idx3-ubyte", None, "train-images-idx3-ubyte or .* is missing"),
        ("train-images-idx3-ubyte", b"", "no IDX file"),
        ("train-images-idx3-ubyte", b"\x00\x00\x0d\x01" + bytes(8), "no IDX file"),
        ("train-images-idx3-ubyte", header(3, 28, 28) + bytes(5), "holds 5 bytes"),
        ("train-images-idx3-ubyte", header(3, 27, 28) + bytes(3 * 27 * 28), r"\(3, 27, 28\)"),
        ("t10k-labels-idx1-ubyte", header(3) + bytes(3), r"labels of shape \(3,\)"),
        ("t10k-labels-idx1-ubyte", header(2) + b"\x00\x0a", "label of 10"),
        ("t10k-labels-idx1-ubyte", header(2) + b"\x00\x02", "other labels than Fashion-MNIST"),
        ("t10k-labels-idx1-ubyte", gzip.compress(header(2) + bytes(2), mtime=0)[:-9], "cannot be read"),
    ],
)
def test_missing_and_damaged_files_are_named(tmp_path: Path, few: None, name: str, content: bytes | None, said: str):
    write_set(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        load_fashion_mnist(tmp_path)


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(idx, "PLACES", (tmp_path / "nowhere",))
    with pytest.raises(InputError, match="apt-get install dataset-fashion-mnist"):
        load_fashion_mnist()
    with pytest.raises(InputError, match="is no directory"):
        load_fashion_mnist(tmp_path / "nowhere")


def test_idx_of_one_dimension(tmp_path: Path):
    (tmp_path / "x").write_bytes(header(4) + b"\x01\x02\x03\xff")
    np.testing.assert_array_equal(read_idx(tmp_path / "x"), [1, 2, 3, 255])


@pytest.fixture
def data() -> Dataset:
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 16)).astype(np.float32), rng.integers(0, 3, 40).astype(np.int32)
    return Dataset(x[:30], y[:30], x[30:], y[30:])


def test_smaller_images_are_means_of_squares(data: Dataset):
    small = smaller(data, 2)
    image = data.train_x[3].reshape(4, 4)
    np.testing.assert_allclose(small.train_x[3], [image[:2, :2].mean(), image[:2, 2:].mean(),
                                                  image[2:, :2].mean(), image[2:, 2:].mean()], rtol=1e-6)  # fmt: skip
    with pytest.raises(InputError, match="divides"):
        smaller(data, 3)


def test_first_images_are_some_of_the_images_with_their_labels(data: Dataset):
    some = first_images(data, 10, seed=3)
    rows = {tuple(x): y for x, y in zip(data.train_x.tolist(), data.train_y.tolist(), strict=True)}
    assert [rows[tuple(x)] for x in some.train_x.tolist()] == some.train_y.tolist()
    assert len({tuple(x) for x in some.train_x.tolist()}) == 10
    assert not np.array_equal(some.train_x, first_images(data, 10, seed=4).train_x)
    np.testing.assert_array_equal(some.test_x, data.test_x)
    with pytest.raises(InputError, match="31 training images"):
        first_images(data, 31, seed=0)


def test_random_labels_keep_how_many_there_are_of_each(data: Dataset):
    dealt = random_labels(data, seed=1)
    np.testing.assert_array_equal(np.bincount(dealt.train_y), np.bincount(data.train_y))
    assert not np.array_equal(dealt.train_y, data.train_y)
    np.testing.assert_array_equal(dealt.train_x, data.train_x)
