"""Few programs, little waste."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spectra.engine.padding import FITS, GRAIN, PROGRAMS, choose_buckets, choose_lengths, pad_to


def waste(buckets: dict[tuple[int, int], tuple[int, int]], shapes: list[tuple[int, int]]) -> float:
    """Share of the flops (Gram product and reduction) that go into padding."""

    def work(shape: tuple[int, int]) -> float:
        return shape[0] * shape[1] ** 2 + 4 / 3 * shape[1] ** 3

    return 1 - sum(map(work, shapes)) / sum(work(buckets[shape]) for shape in shapes)


SHAPES = st.tuples(st.integers(1, 3000), st.integers(1, 3000)).map(lambda shape: (max(shape), min(shape)))


@settings(max_examples=60, deadline=None)
@given(st.lists(SHAPES, min_size=1, max_size=40), st.integers(1, 6))
def test_buckets_hold_every_shape_and_are_few(shapes, programs):
    buckets = choose_buckets(shapes, programs)
    assert set(buckets) == set(shapes)
    assert len(set(buckets.values())) <= programs
    for (n, m), (rows, cols) in buckets.items():
        assert n <= rows and m <= cols and rows % GRAIN == 0 == cols % GRAIN
    assert -1e-12 <= waste(buckets, shapes) < 1


def test_few_shapes_are_left_as_they_are():
    shapes = [(768, 768), (2304, 768), (3072, 768)]
    assert choose_buckets(shapes) == {shape: shape for shape in shapes}


def efficientnet() -> list[tuple[int, int]]:
    """Matrices of an EfficientNet-like network: expansions, squeezes and projections of growing width."""
    shapes = [(32, 27)]
    for width, blocks in ((16, 1), (24, 2), (40, 3), (80, 4), (112, 4), (192, 5), (320, 1)):
        for block in range(blocks):
            wide, inner = 6 * width + 8 * block, max(8, width // 4 + 2 * block)
            shapes += [(wide, width), (wide, inner), (wide + 8, width)]
    return [*shapes, (1280, 320), (1280, 1000)]


def test_a_convolutional_network_of_many_shapes_wastes_little():
    shapes = efficientnet()
    assert len(set(shapes)) >= 50
    buckets = choose_buckets(shapes)
    assert len(set(buckets.values())) + FITS <= 8
    assert PROGRAMS + FITS <= 8
    assert waste(buckets, shapes) <= 0.3


@given(st.lists(st.integers(2, 5000), min_size=1, max_size=30))
def test_lengths_hold_every_sample(sizes):
    lengths = choose_lengths(sizes)
    assert set(lengths) == set(sizes) and len(set(lengths.values())) <= FITS
    assert all(size <= padded for size, padded in lengths.items())


def test_padding_appends_zeros():
    padded = pad_to(np.ones((3, 2)), (5, 3))
    assert padded.shape == (5, 3) and padded.sum() == 6 and padded[:3, :2].all()
    exact = np.ones((3, 2))
    assert pad_to(exact, (3, 2)) is exact
