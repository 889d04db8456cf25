"""Which operator a convolution's kernel stands for: its image, its groups, and what is said where names do not tell."""

from __future__ import annotations

import numpy as np
import pytest

from spectra.models.convolutions import SEVERAL, SINGLE
from spectra.models.layers import Layer, find_layers
from spectra.models.operators import PeriodicConv
from spectra.models.source import TensorInfo


def found(*tensors: tuple[str, tuple[int, ...]], **options: object) -> dict[str, Layer]:
    infos = [TensorInfo(name, shape, "float32") for name, shape in tensors]
    return {layer.name: layer for layer in find_layers(infos, conv="fft", **options)}


def operator(layer: Layer) -> PeriodicConv:
    assert isinstance(layer.view, PeriodicConv)
    return layer.view


@pytest.mark.parametrize("tensor", [("conv.weight", (20, 14, 3, 5)), ("conv.kernel", (3, 5, 14, 20))])
def test_sizes_are_those_of_one_frequency(tensor):
    view = operator(found(tensor, fft_size=8)["conv." + tensor[0][5:]])
    assert (view.N, view.M, view.rf, view.num_evals, view.size) == (20, 14, 64, 64 * 14, (8, 8))
    assert view.computed == (34, 40, 28)  # 30 pairs ±ω and 4 that are their own opposite


def test_the_image_is_at_least_as_large_as_the_kernel_and_one_pixel_where_the_kernel_is():
    view = operator(found(("conv.weight", (20, 14, 1, 31)))["conv.weight"])
    assert (view.size, view.rf) == ((1, 31), 31)
    assert operator(found(("conv.weight", (20, 14, 7)), fft_size=2)["conv.weight"]).size == (7,)


def test_a_pointwise_convolution_is_the_matrix_that_it_was():
    [layer] = find_layers([TensorInfo("conv.weight", (20, 14, 1, 1), "float32")], conv="fft")
    [pooled] = find_layers([TensorInfo("conv.weight", (20, 14, 1, 1), "float32")], conv="pool")
    assert layer == pooled


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("stages.0.dwconv.weight", (12, 1, 7, 7)),
        ("blocks.0.conv_dw.weight", (12, 1, 3, 3)),
        ("blocks.0.depthwise.conv.weight", (12, 1, 3)),
        ("DepthwiseConv_0.kernel", (3, 3, 1, 12)),
        ("conv_dw_transpose.weight", (12, 1, 3, 3)),  # PyTorch's transposed ones are (in, out of a group, …)
    ],
)
def test_depthwise_by_name(name, shape):
    layer = found((name, shape), ("stem.weight", (12, 3, 3, 3)))[name]
    view = operator(layer)
    assert (view.groups, view.N, view.M, view.rf, layer.note) == (12, 1, 1, 12 * int(np.prod(view.size)), "")


def test_a_single_kernel_of_one_channel_is_no_depthwise_one_but_several_are():
    one = found(("conv1.weight", (32, 1, 5, 5)), ("conv2.weight", (64, 32, 5, 5)), ("c.dwconv.weight", (64, 1, 3, 3)))
    assert operator(one["conv1.weight"]).groups == 1 and one["conv1.weight"].note == SINGLE
    several = found(("a.0.weight", (32, 1, 4)), ("a.1.weight", (48, 1, 4)), ("b.weight", (1, 32, 3)), layout="torch")
    assert [operator(several[f"a.{i}.weight"]).groups for i in (0, 1)] == [32, 48]
    assert several["a.0.weight"].note == SEVERAL
    assert (operator(several["b.weight"]).groups, several["b.weight"].note) == (1, "")


def test_gates_of_a_recurrent_convolution():
    layers = found(("cell.ih.kernel", (3, 3, 5, 24)), ("cell.hh.kernel", (3, 3, 6, 24)))
    gate = operator(layers["cell.hh.kernel[f]"])
    assert (gate.N, gate.M, gate.rf, gate.kernel) == (6, 6, 256, (3, 3))
    w = np.arange(3 * 3 * 6 * 24).reshape(3, 3, 6, 24)
    np.testing.assert_array_equal(gate.matrices(w)[5], w[1, 2, :, 12:18].T)


def test_an_operator_that_would_not_fit_is_one_failed_row():
    layers = found(("a.conv.weight", (64, 64, 3, 3, 3)), ("b.conv.weight", (64, 64, 3)), fft_size=512)
    assert layers["a.conv.weight"].problem.endswith(
        "has 8,589,934,592 eigenvalues: choose a smaller fft_size (--fft-size)"
    )
    assert operator(layers["b.conv.weight"]).rf == 512
