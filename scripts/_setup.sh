# shellcheck shell=bash
# The environment that scripts/demo and scripts/test run in; sourced by both, never run.
# It sets ROOT (the repository) and PYTHON (the interpreter of ROOT/.venv).

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
VENV=$ROOT/.venv
PYTHON=$VENV/bin/python
UNFINISHED=$VENV/.spectra-unfinished

say() { printf '%s\n' "$*" >&2; }

die() {
    say "$*"
    exit 1
}

# The first Python that runs, is new enough, and can make environments. A name on PATH proves nothing: it may be
# a pyenv shim for a version that is not selected, or a Debian python3 without its venv package.
find_python() {
    local name lacks_venv=""
    for name in python3 python3.13 python3.12 python3.11; do
        "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue
        if "$name" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            printf '%s\n' "$name"
            return
        fi
        lacks_venv=$name
    done
    [ -z "$lacks_venv" ] || die "$lacks_venv cannot make virtual environments: install its venv package (Debian: python3-venv)"
    die "No Python 3.11 or newer found (tried python3, python3.13, python3.12, python3.11): install one and try again"
}

# A whole environment has a new enough Python with a pip that starts. An environment that was killed half-way
# through an installation may pass both and still lack files, so such a run leaves a mark behind.
venv_is_whole() {
    [ ! -e "$UNFINISHED" ] &&
        "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 &&
        "$PYTHON" -m pip --version >/dev/null 2>&1
}

make_venv() {
    local python
    python=$(find_python) || exit
    [ ! -e "$VENV" ] || say "$VENV is incomplete or too old: making it anew"
    say "Making $VENV with $("$python" --version)"
    "$python" -m venv --clear "$VENV" || die "Could not make $VENV: see the message above"
}

# What the installed state depends on: the declared dependencies, and where the editable install points.
installed_state() {
    "$PYTHON" - "$ROOT" <<'PY'
import hashlib, pathlib, sys

root = pathlib.Path(sys.argv[1])
print(hashlib.sha256((root / "pyproject.toml").read_bytes() + str(root).encode()).hexdigest())
PY
}

# ensure_env EXTRA [SUPERSET]: install the package with EXTRA, unless that or SUPERSET is installed and current.
ensure_env() {
    local extra=$1 known state
    # Two runs at once would install over each other; where flock is missing, they had better not overlap.
    exec 9<"$ROOT/pyproject.toml" || die "Cannot read $ROOT/pyproject.toml"
    if command -v flock >/dev/null; then flock 9; fi
    venv_is_whole || make_venv
    state=$(installed_state) || die "Could not read $ROOT/pyproject.toml"
    for known in "$@"; do
        if [ "$(cat "$VENV/.spectra-$known" 2>/dev/null)" = "$state" ]; then
            exec 9<&-
            return
        fi
    done
    say "Installing spectra-jax[$extra]; the first time takes a minute or two"
    # pip answers an interrupt with an ordinary failure, but has then stopped anywhere: leave before the mark goes.
    trap 'exit 130' INT
    trap 'exit 143' TERM
    : >"$UNFINISHED"
    if ! (cd "$ROOT" && "$PYTHON" -m pip install --quiet --disable-pip-version-check -e ".[$extra]") >&2; then
        rm -f "$UNFINISHED" # pip gave up in good order, so what is there is whole
        die "Installing spectra-jax[$extra] failed: pip's message is above; check the network and run this again"
    fi
    rm -f "$VENV"/.spectra-*
    printf '%s\n' "$state" >"$VENV/.spectra-$extra"
    trap - INT TERM
    exec 9<&-
}
