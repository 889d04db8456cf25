"""Bounded memory: work is let in only while its estimated bytes fit beside what is at work already."""

from __future__ import annotations

import threading


class Budget:
    """Bytes that may be in use at the same time; a piece of work that exceeds them alone is let in alone.

    Parameters
    ----------
    total
        The bytes to share out.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._used = 0
        self._closed = False
        self._changed = threading.Condition()

    def take(self, nbytes: int) -> bool:
        """Wait until `nbytes` are free, or nothing is in use, and take them; False if the budget was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._used or self._used + nbytes <= self._total)
            if not self._closed:
                self._used += nbytes
            return not self._closed

    def give(self, nbytes: int) -> None:
        """Return bytes that were taken."""
        with self._changed:
            self._used -= nbytes
            self._changed.notify_all()

    def close(self) -> None:
        """Let nothing more in; whoever waits is told so."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
