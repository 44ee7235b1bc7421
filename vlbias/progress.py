"""What a user sees while a command works: a bar with time left, or lines where there is no terminal."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from vlbias.quiet import loading_quietly

if TYPE_CHECKING:
    from vlbias.runs.events import Events

__all__ = ["loading_quietly", "printable", "terminal", "watched"]

# what moves the cursor, changes colours, ends a line elsewhere, or turns the order of letters round
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

_SELDOM = 5.0
"""Seconds between lines of progress where there is no terminal."""


def printable(text: str) -> str:
    """A text in which control characters are written as escapes: names in it can steer no terminal."""
    return _STEERING.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def terminal(*, stderr: bool = False) -> Any:
    """A console of rich on which names stand as they are: "[/x]" is no markup, ":x:" no picture."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


@contextmanager
def watched(unit: str = "cell") -> Iterator[tuple[Events, Any]]:
    """A progress bar with time left on standard error, and a way to print beside it.

    Where there is no terminal, lines: at most one every few seconds.

    Args:
        unit: What is counted.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from vlbias.runs.events import Events

    console = terminal(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    said = partial(console.print, soft_wrap=not console.is_terminal)
    began = monotonic()
    # over the whole run: the last half minute holds less than a cell, or cells of one kind only
    with Progress(
        *columns,
        console=console,
        speed_estimate_period=math.inf,
        redirect_stdout=sys.stdout.isatty(),  # what is piped is not for the terminal's bar
    ) as bar:
        task = bar.add_task("starting", total=None)

        def note(text: str) -> None:
            text = printable(text)
            bar.update(task, description=text)
            if not console.is_terminal:
                said(f"[{monotonic() - began:6.1f} s] {text}")

        last = -math.inf

        def cells(done: int, total: int, _: int) -> None:
            nonlocal last
            bar.update(task, description=f"{unit}s", completed=done, total=total)
            now = monotonic()
            if not console.is_terminal and (now - last >= _SELDOM or done >= total):
                last, left = now, bar.tasks[0].time_remaining
                text = "" if left is None else f", about {left:.0f} s left"
                said(f"[{now - began:6.1f} s] {unit} {done}/{total}{text}")

        yield Events(note, cells), lambda text: text and said(printable(text))
