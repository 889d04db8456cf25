"""Laws that hold for every kernel, crossed over kernel × dtype × law from one table.

A kernel is described by what it takes (one item: a bag of entries, a sample, a matrix), how its fields scale with
the entries, and whether it knows leading batch axes. The numbers themselves are checked in the kernel's own file.
"""

import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import monitoring

import spectra.kernels
from spectra.kernels import (
    Histogram,
    Moments,
    PowerLawFit,
    Sparsity,
    Spectrum,
    eigenvalues,
    fit_power_law,
    gini,
    histogram,
    moments,
    quantiles,
    sparsity,
    spectrum,
)

ENTRIES, MATRIX = 96, (14, 9)
ROOM, FRAME = 150, (18, 12)  # what an item is put into, behind a mask that leaves only the item: one more compilation
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
NARROW = (jnp.bfloat16, jnp.float16, jnp.float8_e4m3fn, jnp.float8_e5m2)
PROBABILITIES = jnp.array([0, 0.1, 0.5, 0.77, 1], jnp.float32)


class Kernel(NamedTuple):
    call: Callable[..., Any]
    item: str
    """`entries` of either sign in any order, positive `sample`, or `matrix`."""
    powers: Any
    """For every field the power of c by which it grows when the entries are multiplied by c."""
    batched: bool = False
    """Whether leading axes are a batch."""
    exact_scaling: bool = True


_FIT = PowerLawFit(alpha=0, xmin=1, ks=0, sigma=0, n_tail=0, status=0)
_SPECTRUM = Spectrum(singular_values=1, num_evals=0, num_unresolved=0, floor=1)
_HISTOGRAM = Histogram(counts=0, edges=1, underflow=0, overflow=0, nan=0)

KERNELS = {
    "histogram": Kernel(partial(histogram, bins=10), "entries", _HISTOGRAM),
    "histogram-log": Kernel(partial(histogram, bins=10, scale="log"), "entries", _HISTOGRAM, exact_scaling=False),
    "moments": Kernel(
        moments,
        "entries",
        Moments(count=0, mean=1, std=1, skewness=0, kurtosis=0, min=1, max=1, l1=1, l2=1, zeros=0, hoyer=0),
    ),
    "sparsity": Kernel(sparsity, "entries", Sparsity(0, 0, 0, 0, 0)),
    "gini": Kernel(gini, "entries", 0),
    "quantiles": Kernel(lambda w, where=None: quantiles(w, PROBABILITIES, where), "entries", 1),
    "fit": Kernel(fit_power_law, "sample", _FIT, batched=True),
    "spectrum-gram": Kernel(partial(spectrum, method="gram"), "matrix", _SPECTRUM, batched=True),
    "spectrum-svd": Kernel(partial(spectrum, method="svd"), "matrix", _SPECTRUM, batched=True),
    "spectrum-auto": Kernel(spectrum, "matrix", _SPECTRUM, batched=True),
    "eigenvalues": Kernel(eigenvalues, "matrix", 2, batched=True),
}
BAGS = [name for name, kernel in KERNELS.items() if kernel.item != "matrix"]
MATRICES = [name for name, kernel in KERNELS.items() if kernel.item == "matrix"]
BATCHED = [name for name, kernel in KERNELS.items() if kernel.batched]

every_kernel = pytest.mark.parametrize("name", KERNELS)
seeds = st.integers(0, 2**32 - 1)
modest = settings(deadline=None, max_examples=15, derandomize=True)


def draw(name: str, seed: int = 0, batch: tuple[int, ...] = (), dtype: Any = np.float32) -> np.ndarray:
    """An item for the kernel, or a batch of them, of ordinary numbers with a few zeros and repeats."""
    rng = np.random.default_rng(seed)
    match KERNELS[name].item:
        case "matrix":
            w = rng.standard_normal((*batch, *MATRIX))
        case "sample":
            w = np.round(1 + rng.pareto(1.5, (*batch, ENTRIES)), 2)
        case _:
            w = rng.standard_normal((*batch, ENTRIES)) + 0.3
            w[..., :5] = 0
    return w.astype(dtype)


def assert_same(actual: Any, expected: Any, *, exact: bool = False, rtol: float = 3e-6) -> None:
    """Every field alike: integers exactly, numbers to `rtol` of the field's largest value."""
    actual, expected = jax.tree.leaves_with_path(actual), jax.tree.leaves(expected)
    assert len(actual) == len(expected)
    for (path, got), want in zip(actual, expected, strict=True):
        got, want = np.asarray(got), np.asarray(want)
        label = jax.tree_util.keystr(path)
        assert got.shape == want.shape, label
        if exact or np.issubdtype(want.dtype, np.integer):
            np.testing.assert_array_equal(got, want, err_msg=label)
        else:
            # Skewness and kurtosis near 0 are differences of numbers near 1 and 3.
            least = 3 if "kurtosis" in label or "skewness" in label else 0
            size = np.max(np.abs(want[np.isfinite(want)]), initial=least)
            np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol * size, err_msg=label)


def same_program(f: Callable[..., Any], g: Callable[..., Any], *args: Any) -> bool:
    """Whether both trace to the same program, letter by letter. Then they give the same numbers, for any arguments."""
    return str(jax.make_jaxpr(f)(*args)) == str(jax.make_jaxpr(g)(*args))


def uncompiled(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel as it was written, which is traced into whatever calls it and not as a program of its own."""
    if isinstance(kernel, partial):
        return partial(uncompiled(kernel.func), **kernel.keywords)
    return inspect.unwrap(kernel)


def stack(results: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *results)


# jit, eager, vmap, batches


def test_jit_gives_what_eager_gives() -> None:
    w = draw("quantiles")
    with jax.disable_jit():
        eager = KERNELS["quantiles"].call(w)
    assert_same(KERNELS["quantiles"].call(w), eager)


@every_kernel
def test_lists_and_arrays_of_other_libraries_are_arrays(name: str, unchecked: None) -> None:
    w, kernel = draw(name), KERNELS[name]
    expected = KERNELS[name].call(w)
    for other in (w.tolist(), torch.from_numpy(w), pd.DataFrame(w) if w.ndim == 2 else pd.Series(w)):
        assert_same(kernel.call(other), expected)


def test_kernels_are_pickled_by_their_name() -> None:
    for name in spectra.kernels.__all__:
        value = getattr(spectra.kernels, name)
        if inspect.isroutine(value):
            assert pickle.loads(pickle.dumps(value)) is value


@every_kernel
def test_without_jit_a_second_call_compiles_nothing(name: str) -> None:
    """Loops that are traced anew would be compiled anew."""
    compilations = []

    def listen(event: str, duration: float, **_: Any) -> None:
        if event.startswith("/jax/core/compile/"):  # tracing among it
            compilations.append(event)

    monitoring.register_event_duration_secs_listener(listen)
    try:
        KERNELS[name].call(draw(name))
        del compilations[:]
        KERNELS[name].call(draw(name, 1))
    finally:
        monitoring.unregister_event_duration_listener(listen)
    assert compilations == []


# `spectrum-auto` runs both routes.
@pytest.mark.parametrize("name", [name for name in KERNELS if name not in ("spectrum-gram", "spectrum-svd")])
def test_vmap_gives_what_a_loop_gives(name: str) -> None:
    w = draw(name, batch=(4,))
    assert_same(jax.jit(jax.vmap(KERNELS[name].call))(w), stack([KERNELS[name].call(item) for item in w]))


@pytest.mark.parametrize("name", BATCHED)
def test_leading_axes_are_a_batch(name: str) -> None:
    w = draw(name, batch=(2, 3))
    flat = stack([KERNELS[name].call(item) for item in w.reshape(6, *w.shape[2:])])
    expected = jax.tree.map(lambda field: field.reshape(2, 3, *field.shape[1:]), flat)
    assert_same(KERNELS[name].call(w), expected)


@pytest.mark.parametrize("name", [name for name in BAGS if name not in BATCHED])
def test_entries_of_all_axes_count_together(name: str) -> None:
    w = draw(name)
    assert_same(KERNELS[name].call(w.reshape(4, 6, -1)), KERNELS[name].call(w))


@pytest.mark.parametrize("name", BATCHED)
def test_one_bad_item_leaves_the_others_of_its_batch_alone(name: str) -> None:
    w = draw(name, batch=(2, 3))
    bad = w.copy()
    bad[1, 1] = np.nan
    good = np.ones((2, 3), bool)
    good[1, 1] = False
    kept, expected = (jax.tree.map(lambda f: np.asarray(f)[good], KERNELS[name].call(x)) for x in (bad, w))
    assert_same(kept, expected)


# masks


@pytest.mark.parametrize("name", BAGS)
@given(seed=seeds)
@modest
def test_mask_is_slicing(name: str, seed: int) -> None:
    w = draw(name, seed)
    keep = np.random.default_rng(seed + 1).permutation(ROOM) < ENTRIES
    whole = np.where(np.arange(ROOM) % 2, np.nan, -np.inf).astype(np.float32)
    whole[keep] = w
    assert_same(KERNELS[name].call(whole, where=keep), KERNELS[name].call(w))


@pytest.mark.parametrize("name", MATRICES)
@given(seed=seeds)
@modest
def test_rectangular_mask_is_slicing_and_appends_zeros(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    w = draw(name, seed)
    rows, cols = (rng.permutation(size) < kept for size, kept in zip(FRAME, MATRIX, strict=True))
    mask = rows[:, None] & cols
    framed = np.full(FRAME, np.nan, np.float32)
    framed[mask] = w.ravel()
    whole, part = KERNELS[name].call(framed, where=mask), KERNELS[name].call(w)

    def padded(field: jax.Array) -> np.ndarray:
        missing = min(FRAME) - min(MATRIX)
        before, after = (missing, 0) if name == "eigenvalues" else (0, missing)
        return np.pad(field, (before, after)) if np.ndim(field) else np.asarray(field)

    assert_same(whole, jax.tree.map(padded, part))


@pytest.mark.parametrize("name", ["histogram", "gini", "fit", "spectrum-gram"])
def test_mask_broadcasts(name: str) -> None:
    w = draw(name, batch=(4,)) if name not in MATRICES else draw(name)
    mask = np.arange(w.shape[-1]) < 7
    call = uncompiled(KERNELS[name].call)

    def masked(w: Any, mask: Any) -> Any:
        return call(w, where=mask)

    if not same_program(masked, lambda w, mask: masked(w, jnp.broadcast_to(mask, w.shape)), w, mask):
        narrow, full = (KERNELS[name].call(w, where=m) for m in (mask, np.broadcast_to(mask, w.shape)))
        assert_same(narrow, full, exact=True)


# permutations


@every_kernel
@given(seed=seeds)
@modest
def test_order_does_not_matter(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    w = draw(name, seed)
    moved = w
    for axis in range(w.ndim):
        moved = rng.permutation(moved, axis=axis)
    assert_same(KERNELS[name].call(moved), KERNELS[name].call(w))


# scaling


def scaled(name: str, w: np.ndarray, factor: float) -> Any:
    result = jax.tree.map(np.asarray, KERNELS[name].call(w))
    powers = KERNELS[name].powers
    return jax.tree.map(lambda field, power: field * np.asarray(factor**power, field.dtype), result, powers)


@every_kernel
@pytest.mark.parametrize("exponent", [-40, -1, 3, 40])
def test_scaling_by_a_power_of_two_is_exact(name: str, exponent: int) -> None:
    w = draw(name)
    actual = KERNELS[name].call(np.ldexp(w, exponent))
    expected = scaled(name, w, 2.0**exponent)
    assert_same(actual, expected, exact=KERNELS[name].exact_scaling, rtol=2e-5)


@pytest.mark.parametrize("name", [name for name in KERNELS if not name.startswith("histogram")])
@pytest.mark.parametrize("factor", [3e-15, 0.7, 1.1e15])
def test_scaling_by_any_factor(name: str, factor: float) -> None:
    w = draw(name)
    assert_same(KERNELS[name].call(w * np.float32(factor)), scaled(name, w, factor), rtol=5e-6)


# element types


def assert_widened(name: str, dtype: Any, w: np.ndarray) -> None:
    """As float32 first: by the program, where that tells, and else by the numbers."""
    call, shape = uncompiled(KERNELS[name].call), jax.ShapeDtypeStruct(w.shape, dtype)
    if not same_program(call, lambda w: call(w.astype(jnp.float32)), shape):
        narrow = w.astype(dtype)
        assert_same(KERNELS[name].call(narrow), KERNELS[name].call(narrow.astype(np.float32)), exact=True)


@pytest.mark.parametrize(
    ("name", "dtype"),
    # All kernels widen by the one `to_compute`, so each needs one type, and one kernel of each sort all of them.
    [(name, dtype) for name in KERNELS for dtype in (NARROW if name in ("gini", "fit") else NARROW[:1])],
)
def test_narrow_types_are_widened_exactly(name: str, dtype: Any) -> None:
    assert_widened(name, dtype, draw(name))


@every_kernel
def test_integers_count_as_floats(name: str) -> None:
    assert_widened(name, np.int8, np.round(draw(name) * 3))


@every_kernel
def test_float64_stays_float64_and_is_scoped(name: str) -> None:
    w = draw(name, dtype=np.float64)
    with jax.enable_x64(True):
        result = jax.eval_shape(KERNELS[name].call, w)
    floats = [leaf for leaf in jax.tree.leaves(result) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert floats
    assert all(leaf.dtype == jnp.float64 for leaf in floats)
    assert not jax.config.jax_enable_x64
    assert all(leaf.dtype in (jnp.float32, jnp.int32) for leaf in jax.tree.leaves(KERNELS[name].call(w)))


@every_kernel
def test_complex_numbers_are_refused(name: str) -> None:
    with pytest.raises(TypeError, match="real numbers"):
        KERNELS[name].call(jnp.asarray(draw(name)).astype(jnp.complex64))


# gradients


def weighted_sum(name: str, w: Any) -> Any:
    """A scalar to differentiate: the differentiable fields with fixed unequal weights."""
    result = KERNELS[name].call(w)
    if isinstance(result, Moments):
        fields = [result.mean, result.std, result.skewness, result.kurtosis, result.l1, result.l2, result.hoyer]
    elif isinstance(result, PowerLawFit):
        fields = [result.alpha, result.ks, result.sigma]
    elif isinstance(result, Spectrum):
        fields = [result.singular_values]
    elif isinstance(result, Sparsity):
        fields = [result.hoyer, result.gini]
    else:
        fields = [result]
    numbers = jnp.concatenate([jnp.ravel(field) for field in fields])
    return jnp.sum(numbers * (1 + jnp.arange(numbers.size)) / numbers.size)


DIFFERENTIABLE = [name for name in KERNELS if not name.startswith("histogram")]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients_are_right(name: str) -> None:
    """float32 gradients against central differences of the float64 kernel, along random directions."""
    rng = np.random.default_rng(3)
    w = draw(name, 3)
    w[w == 0] = 0.01  # |w| has a kink at 0
    gradient = np.asarray(gradient_of(name)(w), np.float64)
    assert np.all(np.isfinite(gradient))
    values = np.unique(w)
    with jax.enable_x64(True):
        f = jax.jit(partial(weighted_sum, name))
        for _ in range(3):
            # Equal entries move together, so that ties stay ties and no order changes.
            direction = rng.standard_normal(values.size)[np.searchsorted(values, w)]
            ahead, behind = (float(f(w.astype(np.float64) + sign * 1e-6 * direction)) for sign in (1, -1))
            want = (ahead - behind) / 2e-6
            size = np.linalg.norm(gradient) * np.linalg.norm(direction)
            assert abs(np.sum(gradient * direction) - want) < 1e-4 * size


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@pytest.mark.parametrize("kind", ["constant", "zero", "single", "wide"])
def test_gradients_are_finite_for_degenerate_items(name: str, kind: str) -> None:
    w = draw(name)
    match kind:
        case "constant":
            w[...] = 2.5
        case "zero":
            w[...] = 0
        case "single":
            w[...] = 0
            w.flat[3] = 4
        case "wide":
            w *= np.geomspace(1e-12, 1e12, w.size, dtype=np.float32).reshape(w.shape)
    gradient = gradient_of(name)(w)
    assert np.all(np.isfinite(gradient))


@cache
def gradient_of(name: str) -> Callable[..., Any]:
    return jax.jit(jax.grad(partial(weighted_sum, name)))


# lowering


@pytest.mark.parametrize(
    ("name", "platforms"),
    # One platform at a time only where a kernel has routes of its own for some of them.
    [(name, each) for name in KERNELS for each in (PLATFORMS, *((p,) for p in PLATFORMS if name in MATRICES))],
)
def test_lowers_for_every_platform(name: str, platforms: tuple[str, ...]) -> None:
    w = jax.ShapeDtypeStruct(draw(name).shape, jnp.float32)
    exported = jax.export.export(jax.jit(KERNELS[name].call), platforms=list(platforms))(w)
    assert exported.platforms == platforms


@every_kernel
def test_lowers_with_a_mask_and_narrow_entries(name: str) -> None:
    w = jax.ShapeDtypeStruct(draw(name).shape, jnp.bfloat16)
    where = jax.ShapeDtypeStruct(w.shape, bool)
    exported = jax.export.export(jax.jit(KERNELS[name].call), platforms=list(PLATFORMS))(w, where=where)
    assert exported.platforms == PLATFORMS


@pytest.mark.parametrize("name", ["moments", "fit", "spectrum-auto", "gini"])
def test_gradients_lower_for_all_platforms(name: str) -> None:
    w = jax.ShapeDtypeStruct(draw(name).shape, jnp.float32)
    exported = jax.export.export(gradient_of(name), platforms=list(PLATFORMS))(w)
    assert exported.platforms == PLATFORMS


# imports


def test_import_leaves_the_configuration_of_jax_alone() -> None:
    program = """if True:
        import jax
        before = dict(jax.config.values)
        import spectra, spectra.kernels
        changed = {k: (before.get(k), v) for k, v in jax.config.values.items() if before.get(k) != v}
        assert not changed, changed
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
