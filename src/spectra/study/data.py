"""The data sets that the study's networks learn, as plain arrays with one fixed split a seed."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

from spectra.errors import InputError

DIGITS_MAX = 16.0
"""Largest pixel value in scikit-learn's digits: each pixel counts the set bits of a 4×4 block."""


class Dataset(NamedTuple):
    """Flattened images and their classes, split once into train and test.

    Attributes
    ----------
    train_x, test_x
        Images, one flattened image a row, pixels scaled to [0, 1].
    train_y, test_y
        Class numbers from 0.
    """

    train_x: Float32[np.ndarray, "train features"]
    train_y: Int32[np.ndarray, " train"]
    test_x: Float32[np.ndarray, "test features"]
    test_y: Int32[np.ndarray, " test"]

    @property
    def num_classes(self) -> int:
        """Number of classes, counted over both parts."""
        return int(max(self.train_y.max(), self.test_y.max())) + 1


def load_digits(seed: int, test_share: float = 0.2) -> Dataset:
    """scikit-learn's 1797 handwritten digits, 8×8 pixels, which need no download.

    Parameters
    ----------
    seed
        Decides which images are held out; the same seed gives the same split.
    test_share
        Share of the images held out for testing, strictly between 0 and 1. The split is stratified: every class
        has this share of its images in the test part, to within one image.

    Returns
    -------
    Dataset
        Rows of 64 pixels. The scaling is pixel / 16, so values lie in [0, 1]; nothing is centred and nothing is
        learned from the data, so that the test part cannot leak into it.

    Raises
    ------
    InputError
        If scikit-learn is missing, or `test_share` leaves one of the parts empty.
    """
    try:
        from sklearn import datasets, model_selection
    except ImportError as error:
        raise InputError("digits need scikit-learn: pip install 'spectra-jax[study]'") from error
    if not 0.0 < test_share < 1.0:
        raise InputError(f"test_share is {test_share}; give a share strictly between 0 and 1")
    pixels, classes = map(np.asarray, datasets.load_digits(return_X_y=True))
    images, labels = (pixels / DIGITS_MAX).astype(np.float32), classes.astype(np.int32)
    try:
        train_x, test_x, train_y, test_y = model_selection.train_test_split(
            images, labels, test_size=test_share, random_state=seed, stratify=labels
        )
    except ValueError as error:  # fewer images in one part than there are classes, or a negative seed
        raise InputError(f"digits cannot be split with seed {seed} and test_share {test_share}: {error}") from error
    return Dataset(train_x, train_y, test_x, test_y)


def smaller(data: Dataset, factor: int) -> Dataset:
    """Square images with their sides divided by `factor`: each pixel the mean of a square of them."""
    return data._replace(train_x=_pooled(data.train_x, factor), test_x=_pooled(data.test_x, factor))


def _pooled(x: np.ndarray, factor: int) -> np.ndarray:
    side = math.isqrt(x.shape[1])
    if side**2 != x.shape[1] or factor < 1 or side % factor:
        raise InputError(f"images of {x.shape[1]} pixels are no squares whose side {factor} divides")
    small = side // factor
    return x.reshape(-1, small, factor, small, factor).mean(axis=(2, 4)).reshape(-1, small * small)


def first_images(data: Dataset, count: int, seed: int) -> Dataset:
    """A random `count` of the training images, the same for the same seed; the test images stay."""
    if not 0 < count <= len(data.train_y):
        raise InputError(f"{count} training images were asked for, but there are {len(data.train_y)}")
    chosen = np.random.default_rng([seed, 1]).permutation(len(data.train_y))[:count]
    return data._replace(train_x=data.train_x[chosen], train_y=data.train_y[chosen])


def random_labels(data: Dataset, seed: int) -> Dataset:
    """The same images with their classes dealt out anew, in both parts: nothing can be learned but by heart."""
    rng = np.random.default_rng([seed, 2])
    return data._replace(train_y=rng.permutation(data.train_y), test_y=rng.permutation(data.test_y))
