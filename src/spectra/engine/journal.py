"""The journal of a run: finished layers on disk, so that the same command goes on where it was.

The folder holds ``run.json``, which says what run this is, and one file a writer, ``layers-0000.journal``, to which
records are only ever appended. A record is on disk before the layer counts as finished.

What is read back:

- A file that ends in anything but a whole record (the process was killed while writing) is cut back to the last one.
- Damage between whole records is passed over; they all count, the layers in the damaged stretch are computed again, and
  `Journal.damage` says so. Every record has a checksum of 16 bytes, keyed with the run.
- A file whose beginning is not that of this run is refused.
- Failed layers are written but not taken up: what failed may have been the reading, so they are tried again. What is in
  the data fails again.
- The last record of a layer counts.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from spectra.engine.identity import difference
from spectra.engine.records import HEAD, KEY_SIZE, Content, frame, pack_result, read_content
from spectra.errors import InputError, OutputError
from spectra.report.result import LayerResult

try:
    import fcntl
except ImportError:  # Windows: no lock, the user must see to it that one process writes
    fcntl = None

FORMAT = 1
"""Of the files here; to be raised with every change of what they mean."""

_REMEDY = "use another directory, or delete this one to start afresh"
_NAME = re.compile(r"layers-\d{4,}\.journal")


class Journal:
    """Finished layers of one run on disk, so that the same command goes on where it was.

    Several processes share the folder, each with its own `writer` number; they read each other's files when they
    start, so that a resumed run may have another number of them. No process may add before all have made their
    journal, or they disagree on what is finished.

    Parameters
    ----------
    folder
        Made if it is missing.
    identity
        What the numbers depend on (`spectra.engine.identity.run_identity`); what JSON holds.
    writer
        Number of this process among those of the run.

    Attributes
    ----------
    finished
        Results of earlier runs by label of the model and name of the layer, of all writers, without failed ones.
    damage
        One line, for the user to know, for each file that is damaged between whole records; nothing doubtful is taken
        up from it.

    Raises
    ------
    InputError
        If the folder holds a run of another identity, or another process writes to it.
    OutputError
        If the folder or its files cannot be made, read or written.
    """

    finished: dict[tuple[str, str], LayerResult]
    damage: tuple[str, ...]

    def __init__(self, folder: Path, identity: Mapping[str, Any], writer: int = 0) -> None:
        self.folder = Path(folder)
        self.path = self.folder / f"layers-{writer:04d}.journal"
        self._lock = threading.Lock()
        self._refused = ""
        told = json.loads(json.dumps(identity, default=str))
        self._key = _key(told)
        _make_folder(self.folder)
        with _told(self.folder):
            _refuse_another(self.folder, told)  # before anything is written to it
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
        try:
            self._claim()
            own = self._read()
            with _told(self.folder):
                if not (self.folder / "run.json").exists():
                    _write_whole(self.folder / "run.json", _about(told), self.folder / f".run.json.{writer}")
                _refuse_another(self.folder, told)
            with _told(self.path):
                self._prepare(own)
        except BaseException:
            os.close(self._file)
            raise

    def add(self, label: str, result: LayerResult) -> None:
        """Put a result on disk; it is there when this returns. Threads may call it at the same time.

        Raises
        ------
        OutputError
            If it cannot be written: the disk is full, the quota used up. The results before it are intact.
        """
        record = frame(pack_result(label, result), self._key)
        with self._lock:
            if self._refused:
                raise OutputError(self._refused)
            end = os.lseek(self._file, 0, os.SEEK_END)
            try:
                _write_all(self._file, record)
                os.fsync(self._file)
            except BaseException as error:
                # Half a record must not be followed by others, and after a failed fsync nobody knows what is on disk.
                self._refused = _lost(self.path, error)
                with suppress(OSError):  # or else the next run cuts it off
                    os.ftruncate(self._file, end)
                    os.fsync(self._file)
                if isinstance(error, OSError):
                    raise OutputError(self._refused) from error
                raise

    def close(self) -> None:
        """Let go of the file and its lock; may be called twice."""
        with self._lock:
            if not self._refused:
                self._refused = f"{self.path}: is closed; open the journal again to add to it"
            if self._file >= 0:
                os.close(self._file)
            self._file = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _claim(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # the latter where a network file system emulates locks
            what = f"another process is at work on this run ({self.path.name} is locked)"
            raise InputError(f"{self.folder}: {what}; wait for it or use another directory") from None
        except OSError:
            pass  # a file system without locks

    def _read(self) -> Content:
        """Take up what earlier runs left; returns what the own file holds."""
        self.finished, damage = {}, []
        contents = {path: _read_records(path, self._key) for path in _record_files(self.folder)}
        for path, content in contents.items():
            for label, result in content.layers:
                if result.status != "failed":
                    self.finished[label, result.name] = result
            if content.damaged:
                what = f"{content.damaged} bytes between whole records are damaged"
                damage.append(f"{path}: {what}; the layers they held are computed again")
        self.damage = tuple(damage)
        return contents[self.path]

    def _prepare(self, own: Content) -> None:
        """Make the own file ready to be appended to."""
        if own.end < own.size:
            os.ftruncate(self._file, own.end)
        if own.end == 0:
            _write_all(self._file, HEAD + self._key)
        os.fsync(self._file)
        _sync_folder(self.folder)


def stored(folder: Path) -> dict[str, Content]:
    """What the files of a run hold, failed layers and repeated ones included, by the file's name; changes nothing."""
    with _told(folder):
        about = _parse(folder / "run.json")
        return {path.name: _read_records(path, _key(about)) for path in _record_files(folder)}


def _key(identity: Any) -> bytes:
    """What ties records to their run: the same for the same identity, so that processes need not agree on one."""
    text = json.dumps([FORMAT, identity], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=KEY_SIZE).digest()


def _about(identity: Any) -> bytes:
    return json.dumps({"journal": FORMAT, "key": _key(identity).hex(), "identity": identity}, indent=1).encode()


def _parse(path: Path) -> Any:
    """The identity in a run.json, which must be whole."""
    data = path.read_bytes()
    try:
        about = json.loads(data)
    except ValueError:
        about = None
    about = about if isinstance(about, dict) else {}
    if about.get("journal", FORMAT) != FORMAT:
        raise InputError(f"{path.parent}: holds a journal of format {about['journal']!r}, not {FORMAT}; {_REMEDY}")
    identity = about.get("identity")
    if not isinstance(identity, dict) or about.get("key") != _key(identity).hex():
        raise InputError(f"{path}: is damaged or of another program; {_REMEDY}")
    return identity


def _refuse_another(folder: Path, identity: Any) -> None:
    try:
        then = _parse(folder / "run.json")
    except FileNotFoundError:
        return
    if (what := difference(then, identity)) is not None:
        raise InputError(f"{folder}: {what}; {_REMEDY}")


def _record_files(folder: Path) -> list[Path]:
    with _told(folder):
        return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), key=lambda path: path.name)


def _read_records(path: Path, key: bytes) -> Content:
    with _told(path):
        data = path.read_bytes()
    try:
        return read_content(data, key)
    except ValueError as error:
        raise InputError(f"{path}: {error}; {_REMEDY}") from error


def _make_folder(folder: Path) -> None:
    with _told(folder):
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder}: is a file; give the name of a directory")
        folder.mkdir(parents=True, exist_ok=True)
    _sync_folder(folder.parent)


@contextmanager
def _told(place: Path) -> Iterator[None]:
    """Failures of the file system as one line."""
    try:
        yield
    except OSError as error:
        where = place if error.filename is None else os.fsdecode(error.filename)
        what = "cannot be read or written"
        raise OutputError(f"{where}: {what} ({error.strerror or error}); choose another directory") from error


def _lost(path: Path, error: BaseException) -> str:
    if not isinstance(error, OSError):
        return f"{path}: writing was interrupted; open the journal again to add to it"
    full = error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
    remedy = "make room" if full else "set that right"
    kept = f"what was finished is kept, {remedy} and give the same command again"
    return f"{path}: cannot be written ({error.strerror or error}); {kept}"


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:  # a disk that fills up takes a part first
        rest = rest[os.write(file, rest) :]


def _write_whole(target: Path, data: bytes, place: Path) -> None:
    """A file that is there whole or not at all, whenever the power fails."""
    try:
        file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
        try:
            _write_all(file, data)
            os.fsync(file)
        finally:
            os.close(file)
        os.replace(place, target)
    finally:
        place.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every system lets a directory be opened or synced
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
