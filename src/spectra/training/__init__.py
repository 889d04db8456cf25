"""Spectra while a network trains: chosen metrics of chosen layers at chosen steps, and a use of them.

`select` settles which metrics of which layers, `measure` computes them inside a jitted step, `Recorder` keeps them on
the device, `track` follows a loop from the host and writes to sinks. `temperature_balance` sets each layer's learning
rate by its spectrum. `docs/training.md` shows them at work.
"""

from spectra.training.measure import Measurement, measure
from spectra.training.metrics import DEFAULT_METRICS, METRICS
from spectra.training.recorder import Recorder, Records
from spectra.training.schedule import Schedule
from spectra.training.selection import Selection, select
from spectra.training.sinks import Row, Sink, TableFile, TensorBoard
from spectra.training.temperature import TemperatureBalanceState, temperature_balance
from spectra.training.threads import one_blas_thread
from spectra.training.track import Tracker, track

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "Measurement",
    "Recorder",
    "Records",
    "Row",
    "Schedule",
    "Selection",
    "Sink",
    "TableFile",
    "TemperatureBalanceState",
    "TensorBoard",
    "Tracker",
    "measure",
    "one_blas_thread",
    "select",
    "temperature_balance",
    "track",
]
