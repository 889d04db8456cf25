"""Does temperature balancing pay on the study's networks?

Multi-layer perceptrons of width 256, trained by SGD with momentum 0.9 and weight decay 5e-4, the kind of training that
the paper balances (Zhou et al., NeurIPS 2023); cosine decay to zero, exponents measured once an epoch.
Three arms share everything, initial weights and batches included, but the factors on the rates of the inner layers:

- `plain`: none;
- `balanced`: 0.5 at the layer of the smallest alpha to 1.5 at the largest;
- `reversed`: 1.5 at the smallest to 0.5 at the largest, which tells whether the spectra matter or any spread of rates.

Each arm has its own best learning rate of a grid, by accuracy on a fifth of the training images held out, on seeds that
are not used again. Then every seed is trained on all training images, and the test images are looked at once. A row is
the mean paired difference to `plain` over the seeds, with a 95 % bootstrap interval and the p-value of the exact
permutation test of signs (of all sign patterns, two-sided).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from scipy import stats
from support.question import Question, answer
from support.timing import timed

from spectra.study.data import load_digits
from spectra.study.idx import load_fashion_mnist
from spectra.study.models import MLP
from spectra.training import one_blas_thread, temperature_balance

WIDTH = 256
COUNT = 20_000
ARMS: dict[str, tuple[float, float] | None] = {"plain": None, "balanced": (0.5, 1.5), "reversed": (1.5, 0.5)}
TUNED_ON = (1000, 1001)


@dataclass(frozen=True)
class Setting:
    """One comparison."""

    data: str
    depth: int
    rates: tuple[float, ...]
    batch: int
    epochs: int
    seeds: int


SETTINGS = (
    Setting("digits", 4, (0.03, 0.1, 0.2), 64, 30, 12),
    Setting("digits", 8, (0.03, 0.1, 0.2), 64, 30, 12),
    Setting("fashion", 4, (0.03, 0.1, 0.2), 128, 8, 10),
)

Images = tuple[jax.Array, jax.Array, jax.Array, jax.Array]
"""Training images and classes, and those that are held out."""


def measure(question: Question) -> None:
    """Rows for each setting."""
    wanted = question.options.settings or range(len(SETTINGS))
    with one_blas_thread():
        for number in wanted:
            compare(question, SETTINGS[number])
            question.save()  # hours of work are not lost with what comes later


def compare(question: Question, setting: Setting) -> None:
    """Tune each arm, train all seeds, and look at the test images."""
    if question.quick:
        setting = Setting(setting.data, setting.depth, setting.rates[:2], setting.batch, 2, 3)
    data = load(setting.data)
    inner = held_out(data)
    rates, tuning = {}, {}
    for arm in ARMS:
        tuning[arm] = {rate: float(np.mean(train(setting, arm, rate, TUNED_ON, inner)[0])) for rate in setting.rates}
        rates[arm] = max(tuning[arm], key=lambda rate, arm=arm: tuning[arm][rate])
        print(f"{setting.data}, depth {setting.depth}, sgd: {arm} tuned: {tuning[arm]}", flush=True)
    seeds = range(setting.seeds)
    seconds, found = timed(lambda: {arm: train(setting, arm, rates[arm], seeds, data) for arm in ARMS})
    name = f"{setting.data}, depth {setting.depth}, sgd"
    for arm in ARMS:
        accuracy, loss, scale = found[arm]
        question.figure(
            f"{name}: {arm}",
            float(np.mean(accuracy)),
            "test accuracy",
            std=float(np.std(accuracy, ddof=1)),
            loss=float(np.mean(loss)),
            rate=rates[arm],
            validation=tuning[arm],
            mean_scale=float(np.mean(scale)),
            seeds=setting.seeds,
            epochs=setting.epochs,
            seconds=seconds,
            accuracies=accuracy.tolist(),
            losses=loss.tolist(),
        )
    for arm in list(ARMS)[1:]:
        for metric, what in enumerate(("test accuracy", "test loss")):
            difference = found[arm][metric] - found["plain"][metric]
            question.figure(f"{name}: {arm} − plain", float(np.mean(difference)), what, **inference(difference))
    if rates["balanced"] != rates["plain"]:
        same = train(setting, "balanced", rates["plain"], seeds, data)[0] - found["plain"][0]
        label = f"{name}: balanced at the rate of plain − plain"
        question.figure(label, float(np.mean(same)), "test accuracy", **inference(same))


def inference(difference: np.ndarray) -> dict[str, Any]:
    """Interval and p-value of a mean paired difference."""
    if np.ptp(difference) == 0:
        return {"low": float(difference[0]), "high": float(difference[0]), "p": 1.0, "better": 0}
    sample = (difference,)
    interval = stats.bootstrap(sample, np.mean, n_resamples=10_000, rng=np.random.default_rng(0)).confidence_interval
    test = stats.permutation_test(sample, np.mean, permutation_type="samples", n_resamples=np.inf)
    better = int(np.sum(difference > 0))
    return {"low": float(interval.low), "high": float(interval.high), "p": float(test.pvalue), "above_zero": better}


def load(name: str) -> Images:
    """A data set of the study, on the device; of Fashion-MNIST as many training images as the study takes."""
    data = load_digits(seed=0) if name == "digits" else load_fashion_mnist()
    count = len(data.train_y) if name == "digits" else COUNT
    return tuple(map(jnp.asarray, (data.train_x[:count], data.train_y[:count], data.test_x, data.test_y)))


def held_out(data: Images) -> Images:
    """The training images alone, a fifth of them held out."""
    x, y = data[:2]
    order = np.random.default_rng(0).permutation(len(y))
    kept, out = order[len(y) // 5 :], order[: len(y) // 5]
    return x[kept], y[kept], x[out], y[out]


def train(
    setting: Setting, arm: str, rate: float, seeds: Sequence[int], data: Images
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Accuracy and loss on the images held out, and the factors of the last epoch, of each seed."""
    networks = [nnx.split(network(setting, seed, data)) for seed in seeds]
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(params for _, params in networks))
    run = partial(_train, networks[0][0], setting, ARMS[arm])
    return jax.device_get(run(jnp.float32(rate), params, jnp.array(seeds), data))


def network(setting: Setting, seed: int, data: Images) -> nnx.Module:
    """An untrained network."""
    return MLP(setting.depth, WIDTH, rngs=nnx.Rngs(seed), in_features=data[0].shape[1])


@partial(jax.jit, static_argnums=(0, 1, 2))
def _train(
    graphdef: Any, setting: Setting, factors: tuple[float, float] | None, rate: Any, params: Any, seeds: Any, data: Any
) -> Any:
    """All seeds side by side."""
    x, y, test_x, test_y = data
    steps = len(y) // setting.batch
    optimiser = optimiser_of(setting, factors, rate, steps)

    def loss(params: Any, x: Any, y: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(nnx.merge(graphdef, params)(x), y).mean()

    def one(params: Any, seed: Any) -> Any:
        def train_step(carry: Any, rows: Any) -> tuple[Any, None]:
            params, state = carry
            updates, state = optimiser.update(jax.grad(loss)(params, x[rows], y[rows]), state, params)
            return (optax.apply_updates(params, updates), state), None

        def epoch(carry: Any, number: Any) -> tuple[Any, None]:
            order = jax.random.permutation(jax.random.fold_in(jax.random.key(seed), number), len(y))
            return jax.lax.scan(train_step, carry, order[: steps * setting.batch].reshape(steps, -1))[0], None

        (params, state), _ = jax.lax.scan(epoch, (params, optimiser.init(params)), jnp.arange(setting.epochs))
        logits = nnx.merge(graphdef, params)(test_x)
        accuracy = jnp.mean(logits.argmax(-1) == test_y)
        scale = state[-1].scale if factors else jnp.ones(1)
        return accuracy, optax.softmax_cross_entropy_with_integer_labels(logits, test_y).mean(), scale

    return jax.vmap(one)(params, seeds)


def optimiser_of(
    setting: Setting, factors: tuple[float, float] | None, rate: Any, steps: int
) -> optax.GradientTransformation:
    """The plain optimiser, with the balance behind it if there are factors."""
    schedule = optax.cosine_decay_schedule(rate, steps * setting.epochs)
    plain = optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(schedule, momentum=0.9))
    return optax.chain(plain, temperature_balance(every=steps, low=factors[0], high=factors[1])) if factors else plain


def options(parser: argparse.ArgumentParser) -> None:
    """Which of the settings."""
    parser.add_argument("--settings", type=int, nargs="+", help=f"0 to {len(SETTINGS) - 1}; all by default")


if __name__ == "__main__":
    answer(__file__, __doc__, measure, options)
