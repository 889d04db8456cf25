"""Single routines of the peers on one array: boost-histogram, NumPy, powerlawrs. Runs in benchmarks/.envs/kernels."""

import time

import boost_histogram
import numpy as np
import powerlawrs
from protocol import serve


class Warm:
    """An array in memory and the routines to time on it."""

    def load(self, path):
        """Hold the array of an .npy file, and the same as a list for powerlawrs, which converts arrays slowly."""
        self.array = np.load(path)
        self.list = np.sort(self.array).astype(float).tolist() if self.array.size <= 1_000_000 else None

    def boost(self, bins, low, high, threads):
        """Histogram on equal bins; the fill runs on that many threads."""
        start = time.perf_counter()
        h = boost_histogram.Histogram(boost_histogram.axis.Regular(bins, low, high))
        h.fill(self.array, threads=threads)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "counts": h.values(flow=True).astype(int).tolist()}

    def numpy(self, bins, low, high):
        """The same by NumPy, whose last bin is closed and which does not count what lies outside."""
        start = time.perf_counter()
        counts, _ = np.histogram(self.array, bins, (low, high))
        return {"seconds": time.perf_counter() - start, "counts": counts.tolist()}

    def powerlawrs(self):
        """Fit with every value as xmin."""
        start = time.perf_counter()
        fit = powerlawrs.fit(self.list).ParetoFit
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "alpha": fit.alpha, "xmin": fit.x_min, "distance": fit.D}

    def goodness(self, precision):
        """The bootstrap p-value with xmin searched anew in each of its 1/(4·precision²) replicates or so."""
        fit = powerlawrs.fit(self.list).ParetoFit
        start = time.perf_counter()
        test = powerlawrs.hypothesis.hypothesis_test(self.list, precision, fit.alpha, fit.x_min, fit.D)
        return {"seconds": time.perf_counter() - start, "p": test.pval, "replicates": test.total, "xmin": fit.x_min}


if __name__ == "__main__":
    warm = Warm()
    calls = {"load": warm.load, "boost": warm.boost, "numpy": warm.numpy}
    serve(calls | {"powerlawrs": warm.powerlawrs, "goodness": warm.goodness})
