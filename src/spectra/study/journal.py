"""Finished networks on disk, one file each, so that a killed study goes on where it was."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spectra.errors import InputError, OutputError

RECORDS = "networks"
IDENTITY = "study.json"


class Journal:
    """The run directory of a study.

    Parameters
    ----------
    directory
        Made if it is missing.
    identity
        What decides the numbers: protocol, versions. A directory of another one is refused.

    Raises
    ------
    InputError
        If the directory belongs to another study, or holds something else.
    OutputError
        If nothing can be written there.
    """

    def __init__(self, directory: Path, identity: Mapping[str, Any]) -> None:
        self.directory = directory
        wanted = json.loads(json.dumps(identity))
        try:
            (directory / RECORDS).mkdir(parents=True, exist_ok=True)
            known = (directory / IDENTITY).read_text(encoding="utf-8") if (directory / IDENTITY).exists() else None
        except OSError as error:
            raise OutputError(f"--out {directory}: {error.strerror or error}; give another directory") from error
        if known is None:
            write_json(directory / IDENTITY, wanted)
        elif (differing := _differing(known, wanted)) is not None:
            raise InputError(
                f"--out {directory}: holds a study of another configuration ({differing}); give another directory, or "
                "the same options and versions"
            )

    def finished(self) -> dict[str, dict[str, Any]]:
        """Records by name of the network; those that failed are left out and will be tried again."""
        found = {}
        for path in sorted((self.directory / RECORDS).glob("*.json")):
            try:
                record = json.loads(path.read_text(encoding="utf-8"))
                if record["status"] != "failed" and {"spec", "result", "layers", "curves"} <= record.keys():
                    found[record["name"]] = record
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue  # damaged, and made anew
        return found

    def add(self, record: Mapping[str, Any]) -> None:
        """Keep the record of one network: whole or not at all."""
        write_json(self.directory / RECORDS / f"{record['name']}.json", record)


def write_json(path: Path, value: Any) -> None:
    """Write a file under a temporary name, sync it, and rename it.

    Raises
    ------
    OutputError
        That names the file.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(value, file, allow_nan=False, separators=(",", ":"))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}") from error


def _differing(known: str, wanted: dict[str, Any]) -> str | None:
    """What of the identity differs, in words; None if nothing does."""
    try:
        found = json.loads(known)
        if not isinstance(found, dict):
            raise ValueError
    except ValueError:
        return f"{IDENTITY} is damaged"
    for name in {*found, *wanted}:
        if found.get(name) != wanted.get(name):
            return f"{name}: {_short(found.get(name))} there, {_short(wanted.get(name))} here"
    return None


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
