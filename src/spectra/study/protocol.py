"""What the study runs, fixed before its results were looked at: docs/study/protocol.md says why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, get_args

from spectra.study.spec import Family, Images, Spec

FAMILIES: tuple[Family, ...] = get_args(Family)


@dataclass(frozen=True)
class Protocol:
    """Sizes of the study.

    Attributes
    ----------
    name
        ``published`` or ``quick``; the verdicts of a quick run are not the published ones.
    images
        The data set.
    seeds
        Networks a cell: seeds 0, 1, ….
    ladders
        Family → depths.
    widths, epochs, counts, learning_rates
        By family; training images 0 means all.
    batch_size
        Images a step, but in the control that varies it.
    gof
        Bootstrap replicates of each fit at initialisation and at the end.
    theory_width, theory_epochs
        Of the network with the layers of Glorot & Bengio's.
    lottery_epochs
        Of each training of the tickets.
    deep
        Depth of the MLP and of the convolutional network in the experiments that take one depth.
    batch_sizes, random_epochs, random_count
        Of the controls: batches, and the training on random labels.
    """

    name: str
    images: Images
    seeds: int
    ladders: dict[Family, tuple[int, ...]]
    widths: dict[Family, int]
    epochs: dict[Family, int]
    counts: dict[Family, int]
    learning_rates: dict[Family, float]
    batch_size: int
    gof: int
    theory_width: int
    theory_epochs: int
    lottery_epochs: int
    deep: dict[Family, int]
    batch_sizes: tuple[int, ...]
    random_epochs: int
    random_count: int

    def spec(self, family: Family, depth: int, seed: int, **changes: Any) -> Spec:
        """A network of this protocol."""
        usual = Spec(
            family,
            depth,
            self.widths[family],
            seed,
            learning_rate=self.learning_rates[family],
            batch_size=self.batch_size,
            epochs=self.epochs[family],
            images=self.images,
            count=self.counts[family],
            gof=self.gof,
        )
        return replace(usual, **changes)


PUBLISHED = Protocol(
    name="published",
    images="fashion",
    seeds=5,
    ladders={"mlp": (2, 4, 8, 16, 32), "cnn": (4, 8, 16), "resnet": (4, 8, 16), "vit": (3, 6, 12)},
    widths={"mlp": 256, "lenet": 300, "cnn": 24, "resnet": 24, "vit": 64},
    epochs={"mlp": 60, "lenet": 30, "cnn": 28, "resnet": 28, "vit": 20},
    counts=dict.fromkeys(FAMILIES, 5_000),
    learning_rates={"mlp": 3e-4, "lenet": 1e-3, "cnn": 1e-3, "resnet": 1e-3, "vit": 1e-3},
    batch_size=64,
    gof=500,
    theory_width=1000,
    theory_epochs=20,
    lottery_epochs=20,
    deep={"mlp": 8, "cnn": 8},
    batch_sizes=(16, 64, 256, 1024),
    random_epochs=100,
    random_count=2_000,
)

QUICK = Protocol(
    name="quick",
    images="digits",
    seeds=2,
    ladders={"mlp": (4, 8), "cnn": (4,), "resnet": (4,), "vit": (3,)},
    widths={"mlp": 64, "lenet": 300, "cnn": 16, "resnet": 16, "vit": 32},
    epochs={"mlp": 40, "lenet": 30, "cnn": 40, "resnet": 40, "vit": 40},
    counts=dict.fromkeys(FAMILIES, 0),
    learning_rates={"mlp": 1e-3, "lenet": 1e-3, "cnn": 3e-3, "resnet": 3e-3, "vit": 3e-3},
    batch_size=128,
    gof=100,
    theory_width=200,
    theory_epochs=20,
    lottery_epochs=20,
    deep={"mlp": 4, "cnn": 4},
    batch_sizes=(16, 64, 256),
    random_epochs=100,
    random_count=300,
)
