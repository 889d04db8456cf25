import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectra.models.matrices import MatrixView

CONV = MatrixView((4, 3, 2, 5), positions=(2, 3), rows=(0,), cols=(1,))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
def test_each_position_of_a_convolution_is_a_slice(dtype):
    w = np.arange(120).reshape(CONV.shape).astype(dtype)
    cut = CONV.matrices(w)
    assert cut.dtype == dtype
    for p, (y, x) in enumerate(np.ndindex(2, 5)):
        np.testing.assert_array_equal(cut[p].astype(float), w[:, :, y, x].astype(float))


def test_jax_arrays_are_cut_like_numpy_arrays():
    w = np.arange(120, dtype=np.float32).reshape(CONV.shape)
    np.testing.assert_array_equal(CONV.matrices(jnp.asarray(w)), CONV.matrices(w))


def test_sizes_follow_the_field_not_the_orientation():
    assert (CONV.N, CONV.M, CONV.rf, CONV.num_evals) == (4, 3, 10, 30)
    turned = MatrixView(CONV.shape, CONV.positions, CONV.cols, CONV.rows)
    assert (turned.N, turned.M, turned.num_evals) == (4, 3, 30)


@pytest.mark.parametrize("axis", [-1, -2])
def test_a_part_is_what_split_gives(axis):
    w = np.arange(3 * 12 * 8).reshape(3, 12, 8)
    view = MatrixView(w.shape, (), (1,), (2,), ((0, 2),))
    for i, expected in enumerate(np.split(w[2], 4, axis)):
        np.testing.assert_array_equal(view.part(3 + axis, 4, i).matrices(w)[0], expected)


@st.composite
def views(draw):
    """A view of a random shape whose axes are dealt at random to positions, rows, columns and picks."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=6)))
    order = draw(st.permutations(range(len(shape))))
    owner = [draw(st.integers(0, 3)) for _ in order]
    groups = [tuple(axis for axis, k in zip(order, owner, strict=True) if k == group) for group in range(4)]
    index = tuple((axis, draw(st.integers(0, shape[axis] - 1))) for axis in groups[3])
    return MatrixView(shape, *groups[:3], index)


@settings(deadline=None)
@given(views())
def test_matrices_keep_every_entry_once(view):
    w = np.arange(np.prod(view.shape)).reshape(view.shape)
    cut = view.matrices(w)
    picked = w
    for axis, entry in view.index:
        picked = picked.take([entry], axis)
    assert sorted(cut.ravel()) == sorted(picked.ravel())
    assert cut.shape[0] == view.rf
    assert sorted(cut.shape[1:]) == [view.M, view.N]


@settings(deadline=None)
@given(views(), st.sampled_from([np.float64, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, np.int8]))
def test_matrices_go_back_to_the_last_bit(view, dtype):
    raw = np.random.default_rng(0).bytes(int(np.prod(view.shape)) * np.dtype(dtype).itemsize)  # NaNs of all kinds too
    w = np.frombuffer(raw, np.uint8).view(dtype).reshape(view.shape)
    cut = np.array(view.matrices(w))
    same = w.copy()
    view.put(same, cut)
    assert same.tobytes() == w.tobytes()
    target = np.zeros_like(w)
    view.put(target, cut)
    assert view.matrices(target).tobytes() == cut.tobytes()
    mask = np.zeros(view.shape, bool)
    view.put(mask, np.ones(cut.shape, bool))
    assert mask.sum() == cut.size and not target[~mask].view(np.uint8).any()


@pytest.mark.parametrize("axis", [-1, -2])
def test_parts_and_reshapings_go_back(axis):
    w = np.arange(1 * 12 * 8).reshape(1, 12, 8)
    view = MatrixView((12, 8), (), (0,), (1,)).part(2 + axis, 4, 2)
    view.put(w, -view.matrices(w))
    assert (w < 0).sum() == 24
    np.testing.assert_array_equal(np.split(w[0], 4, axis)[2], -np.abs(np.split(w[0], 4, axis)[2]))


def test_a_tensor_that_would_be_copied_is_refused():
    with pytest.raises(ValueError, match="C-ordered"):
        CONV.put(np.zeros(CONV.shape, order="F"), np.zeros((10, 4, 3)))
