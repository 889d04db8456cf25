"""Diffract's stable_rank, pl_ks and pl_alpha on weights from a file. Runs in benchmarks/.envs/diffract.

Its `taichi` extra is installed: by default it then takes its accelerated fit. Each run is a new session, since a
session keeps what it has computed.
"""

import logging
import time
import warnings

import diffract
from protocol import serve
from safetensors.numpy import load_file

warnings.simplefilter("ignore")
logging.disable(logging.ERROR)
METRICS = ("stable_rank", "pl_ks", "pl_alpha", "pl_esd_xmin")
"""The last one falls out of the same fit; it is read to compare the tails."""


class Warm:
    """Weights in memory, analyzed as often as asked."""

    def load(self, path, names):
        """Hold the named weights of a file."""
        tensors = load_file(path)
        self.weights = {name: tensors[name] for name in names}

    def run(self):
        """Seconds of one session, from handing over the weights to reading the metrics, and the metrics by layer."""
        start = time.perf_counter()
        with diffract.Session(profile="ram") as session:
            session.models.add(self.weights, model_id="model")
            session.compute.apply(*METRICS)
            table = session.results.export_metrics(*METRICS, export_format="dict")
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "layers": [{"name": e["metadata"]["name"], **e["fields"]} for e in table.values()]}


if __name__ == "__main__":
    warm = Warm()
    serve({"load": warm.load, "run": warm.run})
