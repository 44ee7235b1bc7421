"""The progress display of all trainings."""

from __future__ import annotations

from collections.abc import Callable

from reference.loop import Loop
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["bar", "steps_of"]


def bar(console: Console) -> Progress:
    """A progress display with time left, on stderr."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def steps_of(loop: Loop, progress: Progress) -> Callable[[], None]:
    """What a training calls after every step, so that the display follows."""
    task = progress.add_task("training", total=loop.schedule.epochs * loop.steps)

    def report() -> None:
        # a resumed run begins in the middle
        done = progress.tasks[task].completed
        before = loop.progress.epoch * loop.steps
        progress.update(task, completed=max(done, before) + 1)

    return report
