"""One network of the study: everything that decides its numbers."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Literal

from flax import nnx

from spectra.errors import InputError
from spectra.study.data import Dataset, first_images, load_digits, random_labels, smaller
from spectra.study.idx import load_fashion_mnist
from spectra.study.models import CNN, MLP, Network, VisionTransformer
from spectra.study.models.parts import Activation, Init, Norm
from spectra.study.train import TrainConfig

Family = Literal["mlp", "lenet", "cnn", "resnet", "vit"]
Images = Literal["digits", "fashion"]
Method = Literal["train", "lottery", "global lottery", "pruning"]

LEARNED = 0.8
"""A network below this accuracy in training has not learned and stays out of the verdict."""

PLATEAU = 0.02
"""Nats by which the training loss of a converged network moves at most over its last epoch."""

LENET = (300, 100)
"""Hidden units of LeNet-300-100."""

CLASSES = 10


@dataclass(frozen=True)
class Spec:
    """A network, its data and its training.

    Attributes
    ----------
    family, depth, width, activation, init, norm
        See `spectra.study.models`; `width` is units, channels, or the size of a token. LeNet has its own sizes.
    l1, learning_rate, batch_size, epochs
        See `spectra.study.train.TrainConfig`; the schedule is a cosine.
    images, count, labels
        Data set; training images of it, 0 for all; ``random`` labels have nothing to do with the images.
    method
        What is done with the network: trained, or pruned in one of the ways of the experiments `lottery` and `pruning`.
    gof
        Bootstrap replicates of the fits at initialisation and at the end; 0: neither bootstrap nor permutations.
    seed
        Of the initial weights, the order of the images, their choice, and everything else random.
    """

    family: Family
    depth: int
    width: int
    seed: int
    activation: Activation = "relu"
    init: Init | None = None
    norm: Norm = "none"
    l1: float = 0.0
    learning_rate: float = 1e-3
    batch_size: int = 128
    epochs: int = 15
    images: Images = "digits"
    count: int = 0
    labels: Literal["true", "random"] = "true"
    method: Method = "train"
    gof: int = 0

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise InputError(f"depth is {self.depth}; give at least 1")

    @property
    def name(self) -> str:
        """Unique, and fit for a file's name: the readable fields, and a checksum of all of them."""
        shown = [self.family, f"d{self.depth}", f"w{self.width}", self.activation, self.init, f"seed{self.seed}"]
        shown += [self.norm if self.norm != "none" else None, "l1" if self.l1 else None]
        shown += [f"b{self.batch_size}", "random" if self.labels == "random" else None]
        shown += [self.method.replace(" ", "-") if self.method != "train" else None]
        return "-".join(filter(None, shown)) + f"-{zlib.crc32(json.dumps(asdict(self)).encode()):08x}"

    @property
    def program(self) -> str:
        """Networks of one program differ in their seed alone, and compile nothing new."""
        return replace(self, seed=0).name

    def data(self, directory: str | None = None) -> Dataset:
        """The images that it learns and is tested on."""
        found = _images(
            self.images, directory, 2 if self.images == "fashion" and self.family in ("cnn", "resnet") else 1
        )
        if self.count:
            found = first_images(found, self.count, self.seed)
        return random_labels(found, self.seed) if self.labels == "random" else found

    def build(self, in_features: int) -> Network:
        """The network with its initial weights."""
        common: dict[str, Any] = {"rngs": nnx.Rngs(self.seed), "in_features": in_features, "num_classes": CLASSES}
        common |= {"init": self.init, "norm": self.norm}
        match self.family:
            case "mlp":
                return MLP(self.depth, self.width, self.activation, **common)
            case "lenet":
                return MLP(2, LENET, self.activation, **common)
            case "cnn" | "resnet":
                residual = self.family == "resnet"
                return CNN(self.depth, self.width, self.activation, residual=residual, **common)
            case "vit":
                return VisionTransformer(self.depth, self.width, self.activation, **common)

    @property
    def config(self) -> TrainConfig:
        """How it is trained: the plateau is asked of the last epoch, whose learning rate ends at zero."""
        return TrainConfig(
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            max_epochs=self.epochs,
            schedule="cosine",
            l1=self.l1,
            target_accuracy=LEARNED,
            tolerance=PLATEAU,
            patience=1,
            evaluate_every=max(5, self.epochs),
        )

    @property
    def cost(self) -> float:
        """About the floating-point operations of its training, for progress and remaining time."""
        w = self.width
        pixels = 784 if self.images == "fashion" else 64
        weights = {
            "mlp": w * pixels + (self.depth - 1) * w * w,
            "lenet": 300 * pixels + 300 * 100,
            "cnn": 9 * w * pixels / 4 + (self.depth - 1) * 9 * w * w * pixels / 16,
            "resnet": 9 * w * pixels / 4 + (self.depth - 1) * 9 * w * w * pixels / 16,
            "vit": self.depth * 8 * w * w * 16,
        }[self.family]
        count = self.count or (60_000 if self.images == "fashion" else 1437)
        trainings = {"train": 1, "lottery": 40, "global lottery": 12, "pruning": 2}[self.method]
        small_batches = max(1.0, 64 / self.batch_size)
        # The measurements of a network cost about as much as 10¹¹ operations of its training.
        return 6 * weights * count * self.epochs * trainings * small_batches + 1e11


@cache
def _images(images: Images, directory: str | None, factor: int) -> Dataset:
    if images == "digits":
        return load_digits(seed=0)
    whole = load_fashion_mnist(directory)
    return smaller(whole, factor) if factor > 1 else whole
