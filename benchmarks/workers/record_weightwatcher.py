"""WeightWatcher's table for one model and some options, as CSV. Runs in benchmarks/.envs/weightwatcher.

python record_weightwatcher.py MODEL.safetensors OUT.csv OPTIONS.json [SEED...]

With seeds the analysis is repeated, NumPy's generator seeded with each in turn, and a column `seed` tells them apart:
it takes its permutations from there.
"""

import json
import logging
import sys
import warnings

import numpy as np
import pandas as pd
import weightwatcher
from weightwatcher_worker import build, read

warnings.simplefilter("ignore")
logging.disable(logging.ERROR)


def main():
    """Analyze and write."""
    path, out, options, *seeds = sys.argv[1:]
    model = build(read(path))
    tables = []
    for seed in map(int, seeds or [0]):
        np.random.seed(seed)  # noqa: NPY002 - the generator that it draws from
        table = weightwatcher.WeightWatcher(model=model).analyze(**json.loads(options))
        tables.append(table.assign(seed=seed) if seeds else table)
    pd.concat(tables).to_csv(out, index=False)


if __name__ == "__main__":
    main()
