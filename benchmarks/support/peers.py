"""The peers: an environment for each under benchmarks/.envs, and a process of it that answers requests.

`python benchmarks/support/peers.py` sets all of them up. An environment is made once and again when its list below
changes.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
ENVIRONMENTS = HERE / ".envs"


class PeerAbsentError(Exception):
    """A peer cannot run here; the message says why and goes into the result."""


class PeerFailedError(Exception):
    """A peer raised an error; the message holds its traceback."""


@dataclass(frozen=True)
class Environment:
    """What is installed for a peer: one pip call for each group, in order, so that pins come before what needs them."""

    groups: Sequence[Sequence[str]]
    pythons: Sequence[str] = ()
    """Versions it needs, the best first; any that runs these scripts if empty."""
    reported: Sequence[str] = field(default=())
    """Packages whose versions are written into results."""


PEERS = {
    # A looser range of torch takes a CUDA build of several gigabytes.
    "weightwatcher": Environment(
        [["torch==2.13.0"], ["weightwatcher==0.7.7", "powerlaw==2.0.0", "safetensors"]],
        reported=["weightwatcher", "powerlaw", "torch", "numpy", "scipy"],
    ),
    # Its taichi extra is the accelerated fit, which it then takes by default.
    "diffract": Environment(
        [["diffract-core[taichi]==0.3.1", "safetensors"]],
        pythons=["3.12", "3.13"],
        reported=["diffract-core", "taichi", "numpy", "scipy"],
    ),
    "kernels": Environment(
        [["powerlawrs==0.0.15", "boost-histogram", "numpy"]], reported=["powerlawrs", "boost-histogram", "numpy"]
    ),
}


def python_of(name: str) -> Path:
    """The interpreter of a peer's environment, which is made if it is missing or out of date."""
    wanted = PEERS[name]
    place = ENVIRONMENTS / name
    done, state = place / ".installed", json.dumps([wanted.groups, wanted.pythons])
    ENVIRONMENTS.mkdir(exist_ok=True)
    with open(ENVIRONMENTS / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists() or done.read_text() != state:
            base = _base_python(wanted.pythons)
            print(f"Installing {name} into {place}", file=sys.stderr)
            subprocess.run([base, "-m", "venv", "--clear", place], check=True)
            for group in wanted.groups:
                _pip(place / "bin" / "python", group)
            done.write_text(state)
    return place / "bin" / "python"


def _base_python(versions: Sequence[str]) -> str:
    """An interpreter of one of these versions, on PATH or among pyenv's."""
    if not versions:
        return sys.executable
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for version in versions:
        candidates = [shutil.which(f"python{version}"), sys.executable, *sorted(root.glob(f"{version}*/bin/python"))]
        for candidate in candidates:  # a name on PATH proves nothing: pyenv leaves shims for what is not selected
            if candidate and _version(candidate) == version:
                return str(candidate)
    raise PeerAbsentError(f"needs Python {' or '.join(versions)}, which was not found")


def _version(python: str | Path) -> str:
    question = "import sys, ensurepip, venv; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", question], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _pip(python: Path, packages: Sequence[str]) -> None:
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise PeerFailedError(f"installing {' '.join(packages)} failed:\n{done.stderr[-2000:]}")


def peer_versions(name: str) -> dict[str, str]:
    """Versions of a peer's packages that may matter for its speed, and of its Python."""
    code = (
        "import json, platform, sys; from importlib.metadata import version;"
        "print(json.dumps({'python': platform.python_version(), **{p: version(p) for p in sys.argv[1:]}}))"
    )
    command = [python_of(name), "-c", code, *PEERS[name].reported]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def peer_environ() -> dict[str, str]:
    """The environment of every measured process: without what would choose OpenBLAS's kernels or threads for it."""
    dropped = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return {name: value for name, value in os.environ.items() if name not in dropped}


class Peer:
    """A process of a peer, to be used in a `with` block."""

    def __init__(self, environment: str, worker: str) -> None:
        command = [python_of(environment), HERE / "workers" / f"{worker}_worker.py"]
        pipe = subprocess.PIPE
        self._log = open(ENVIRONMENTS / f"{worker}.log", "w+")  # noqa: SIM115 - closed with the peer
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=self._log, text=True, env=peer_environ()
        )

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def ask(self, command: str, **arguments: Any) -> Any:
        """The peer's answer to one request."""
        request = json.dumps({"command": command, "arguments": arguments}, default=str)
        try:
            self._process.stdin.write(request + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._log.seek(0)
            raise PeerFailedError(f"the peer ended: {self._log.read()[-2000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerFailedError(answer["error"])
        return answer["ok"]


def main() -> None:
    """Set up every peer."""
    for name in PEERS:
        try:
            print(f"{name}: {peer_versions(name)}")
        except PeerAbsentError as absent:
            print(f"{name}: absent, {absent}")


if __name__ == "__main__":
    main()
