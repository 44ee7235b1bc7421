"""What a long job tells whoever watches it; knows neither models nor tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["QUIET", "Events", "Note", "Progress", "silent"]

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
