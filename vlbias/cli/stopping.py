"""Ctrl-C and SIGTERM: a command ends with a line on what was kept and how to go on."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from vlbias.errors import VlbiasError

__all__ = ["Stopped", "kept_cells", "stoppable", "told"]

_SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Stopped(BaseException):
    """A command was asked to end; no Exception, so that no cell counts as failed.

    Args:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number
        self.by = _SIGNALS.get(signal.Signals(number), str(number))
        self.kept = "what was finished is kept; the same command goes on"


@contextmanager
def stoppable() -> Iterator[None]:
    """A context in which Ctrl-C and SIGTERM raise `Stopped`, and afterwards do what they did before."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def told(kept: Callable[[], str]) -> Iterator[None]:
    """A context that adds to `Stopped` what is kept, asked for at that time."""
    try:
        yield
    except Stopped as stopped:
        stopped.kept = kept()
        raise


def kept_cells(folder: Path) -> str:
    """How many cells of a run folder are there, and how to go on."""
    from vlbias.runs.remote import address_of
    from vlbias.store.run_folder import Run

    if address := address_of(folder):
        return f"finished cells are kept in {address}; the same command goes on with the others"
    try:
        run = Run(folder)
        there, cells = run.cells.written, len(run.manifest["cells"])
    except VlbiasError:
        return f"nothing was computed yet in {folder}; the same command begins anew"
    return (
        f"{there} of {cells} cells are kept in {folder}; the same command goes on with the others"
    )
