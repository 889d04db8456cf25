"""Files and directories that spectra recognizes but does not read, so that the error can say what they are."""

from __future__ import annotations

from pathlib import Path

_CONVERT = "convert it to safetensors first"
_NOT_A_CHECKPOINT = "give a checkpoint"
_UNPACK = "unpack it first"

_MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"GGUF", "the GGUF format", _CONVERT),
    (0, b"\x89HDF\r\n\x1a\n", "the HDF5 (Keras) format", _CONVERT),
    (4, b"TFL3", "the TensorFlow Lite format", _CONVERT),
    (0, b"\xff\xd8\xff", "a JPEG image", _NOT_A_CHECKPOINT),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image", _NOT_A_CHECKPOINT),
    (0, b"%PDF-", "a PDF document", _NOT_A_CHECKPOINT),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself", "fetch it with `git lfs pull`"),
    (0, b"\x1f\x8b", "a gzip archive", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a zstandard archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
)

_DIRECTORIES = (
    ("saved_model.pb", "the TensorFlow SavedModel format"),
    ("keras_metadata.pb", "the Keras format"),
    (".metadata", "PyTorch's distributed checkpoint format"),
)


def identify(path: Path, head: bytes) -> tuple[str, str] | None:
    """What a file or directory is and what to do with it; None if it is unknown too."""
    if path.is_dir():
        return next(((name, _CONVERT) for marker, name in _DIRECTORIES if (path / marker).exists()), None)
    for offset, magic, name, remedy in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return name, remedy
    # a protobuf has no magic: an ONNX model starts with field 1 (its version, a small number) and field 2 (a string)
    if path.suffix == ".onnx" or (head[:1] == b"\x08" and head[1:2] < b"\x20" and head[2:3] == b"\x12"):
        return "the ONNX format", _CONVERT
    if path.suffix == ".keras":
        return "the Keras format", _CONVERT
    if path.suffix == ".gguf":
        return "the GGUF format", _CONVERT
    if path.suffix in (".h5", ".hdf5"):
        return "the HDF5 (Keras) format", _CONVERT
    return None
