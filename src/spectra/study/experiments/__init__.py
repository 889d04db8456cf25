"""One file an experiment: which networks it takes, and what they say of which claim."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol as Interface
from typing import cast

from spectra.study.findings import Finding, Tables
from spectra.study.panels import Panel
from spectra.study.protocol import Protocol
from spectra.study.spec import Spec

NAMES = ("depth", "initialisation", "rectifier", "lottery", "pruning", "weightnorm", "controls")


class Experiment(Interface):
    """What each file of this folder offers."""

    def specs(self, protocol: Protocol) -> Sequence[Spec]:
        """The networks that it takes; several experiments may share one."""
        ...

    def findings(self, protocol: Protocol, tables: Tables) -> list[Finding]:
        """What they say."""
        ...

    def panels(self, protocol: Protocol, tables: Tables) -> list[Panel]:
        """What is to be drawn of them."""
        ...


def experiment(name: str) -> Experiment:
    """The experiment of that name, one of `NAMES`."""
    return cast(Experiment, import_module(f"spectra.study.experiments.{name}"))
