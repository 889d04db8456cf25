"""The powerlaw package on one sample. Runs in benchmarks/.envs/weightwatcher."""

import time
import warnings

import numpy as np
import powerlaw
from protocol import serve


class Warm:
    """A sample in memory, fitted as often as asked."""

    def load(self, path):
        """Hold the sample of an .npy file."""
        self.sample = np.load(path).astype(float)

    def run(self):
        """Fit with every value as xmin."""
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = powerlaw.Fit(self.sample, verbose=0)
            alpha, xmin = float(fit.power_law.alpha), float(fit.xmin)
        return {"seconds": time.perf_counter() - start, "alpha": alpha, "xmin": xmin}


if __name__ == "__main__":
    warm = Warm()
    serve({"load": warm.load, "run": warm.run})
