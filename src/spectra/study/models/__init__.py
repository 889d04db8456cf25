"""The families of networks that the study trains, in Flax NNX: one file a family, `parts` for what they share."""

from spectra.study.models.cnn import CNN
from spectra.study.models.mlp import MLP
from spectra.study.models.parts import ACTIVATIONS, INITIALIZERS, Layer, Network, Place, calibrating, evaluate
from spectra.study.models.transformer import VisionTransformer

__all__ = [
    "ACTIVATIONS",
    "CNN",
    "INITIALIZERS",
    "MLP",
    "Layer",
    "Network",
    "Place",
    "VisionTransformer",
    "calibrating",
    "evaluate",
]
