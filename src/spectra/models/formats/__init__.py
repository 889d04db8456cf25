"""Checkpoint formats: one small file each, found through one registry.

``registry`` lists the formats and holds `open_source`; ``base`` has what they share (the error wrapper and the
list-then-read source), ``naming`` turns nested trees into tensor names, ``sharded`` joins files into one source, and
``foreign`` recognizes what spectra does not read. What the tensors mean is the business of ``models/layers.py``.
"""

from spectra.models.formats.registry import open_source

__all__ = ["open_source"]
