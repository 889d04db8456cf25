"""WeightWatcher on weights from a file, at its default options unless others are given.

Runs in benchmarks/.envs/weightwatcher.

python weightwatcher_worker.py                   answer requests (protocol.py): the time inside the process, warm
python weightwatcher_worker.py MODEL OUT.csv     one process from file to table, as a user's script would be
"""

import logging
import sys
import time
import warnings

import weightwatcher
from protocol import serve
from safetensors.torch import load_file
from torch import nn

warnings.simplefilter("ignore")
logging.disable(logging.ERROR)  # it logs to the console otherwise, which would cost it time
COLUMNS = ("alpha", "D", "num_pl_spikes", "stable_rank", "num_evals", "detX_num", "max_rand_eval", "num_spikes")
"""What is handed over to be compared, where there is such a column."""


def build(weights):
    """A module that holds the weights under their names. No random initialisation is made, so none is paid for."""
    root = nn.Module()
    for name, tensor in weights.items():
        *path, last = name.removesuffix(".weight").split(".")
        parent = root
        for part in path:
            if not hasattr(parent, part):
                parent.add_module(part, nn.Module())
            parent = getattr(parent, part)
        layer = empty_layer(name, tensor.shape)
        layer.weight = nn.Parameter(tensor, requires_grad=False)
        parent.add_module(last, layer)
    return root


def empty_layer(name, shape):
    """The layer that such a weight belongs to."""
    if len(shape) == 2:
        kind = nn.Embedding if "embeddings" in name else nn.Linear
        sides = shape if kind is nn.Embedding else (shape[1], shape[0])
        return kind(*sides, device="meta", **({} if kind is nn.Embedding else {"bias": False}))
    out, per_group, *kernel = shape
    groups = out if per_group == 1 else 1
    return nn.Conv2d(per_group * groups, out, kernel, groups=groups, bias=False, device="meta")


def analyze(model, **options):
    """The default table, or that of other options."""
    return weightwatcher.WeightWatcher(model=model).analyze(**options)


def read(path):
    """Weights of a safetensors file that belong to layers WeightWatcher measures."""
    wanted = {name: w for name, w in load_file(path).items() if w.ndim in (2, 4) and name.endswith(".weight")}
    return {name: w for name, w in wanted.items() if w.is_floating_point()}


class Warm:
    """A model in memory, analyzed as often as asked."""

    def load(self, path, names):
        """Hold the named weights of a file."""
        tensors = load_file(path)
        self.model = build({name: tensors[name] for name in names})

    def run(self, **options):
        """Seconds of one analysis and its table by layer."""
        start = time.perf_counter()
        table = analyze(self.model, **options)
        seconds = time.perf_counter() - start
        rows = table.set_index("longname")[[name for name in COLUMNS if name in table]]
        return {"seconds": seconds, "layers": rows.astype(float).to_dict("index")}


def main():
    """Serve, or make one table."""
    if len(sys.argv) == 1:
        warm = Warm()
        serve({"load": warm.load, "run": warm.run})
    else:
        model, out = sys.argv[1:]
        analyze(build(read(model))).to_csv(out, index=False)


if __name__ == "__main__":
    main()
