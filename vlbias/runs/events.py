"""What a long job tells whoever watches it; knows neither models nor tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["QUIET", "Countdown", "Events", "Note", "Progress", "silent"]

T = TypeVar("T")
_SELDOM = 5.0
"""Seconds between two notes of a countdown."""

Note = Callable[[str], None]
"""Is told what is being done now."""


def silent(text: str) -> None:
    """A note that nobody hears."""


@dataclass(frozen=True)
class Events:
    """What a run tells whoever watches it; everything may be ignored.

    Args:
        note: What is being done now.
        cells: Cells done, cells in all, samples in the cell that was just done.
    """

    note: Note = silent
    cells: Callable[[int, int, int], None] = lambda done, total, samples: None


QUIET = Events()
"""Nobody watches."""


class Progress:
    """Counts the steps of a run for whoever watches.

    Args:
        events: Who watches.
        done: Steps that were done before.
        total: All steps.
    """

    def __init__(self, events: Events, done: int, total: int) -> None:
        self.events, self.done, self.total = events, done, total

    def step(self, samples: int = 0) -> None:
        """One more step is done."""
        self.done += 1
        self.events.cells(self.done, self.total, samples)


class Countdown:
    """Notes now and then how much of a long job is done, and how long the rest takes at that pace.

    Args:
        note: Is told.
        total: Steps in all.
        unit: What a step is, in the plural.
    """

    def __init__(self, note: Note, total: int, unit: str) -> None:
        self.note, self.total, self.unit, self.done = note, total, unit, 0
        self._began = self._said = time.monotonic()

    def over(self, steps: Iterable[T], what: str) -> Iterator[T]:
        """The steps, one after another.

        Args:
            steps: Each is done when the next is asked for.
            what: What they are part of.
        """
        for step in steps:
            yield step
            self.done += 1
            now = time.monotonic()
            if now - self._said >= _SELDOM:
                self._said = now
                left = (now - self._began) / self.done * (self.total - self.done)
                self.note(
                    f"{what}: {self.done} of {self.total} {self.unit}, about {left:.0f} s left"
                )
