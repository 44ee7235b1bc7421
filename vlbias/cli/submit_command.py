"""The command for clusters with a batch system: submit."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from vlbias.cli.output import echo
from vlbias.cli.stopping import kept_cells, told
from vlbias.errors import BadOption, BadStudy
from vlbias.progress import loading_quietly, watched

if TYPE_CHECKING:
    from vlbias.runs.events import Events
    from vlbias.runs.interfaces import Plan

__all__ = ["submit"]

_SPARE = 10
"""Minutes that a task may take beyond twice what is expected."""


def submit(
    study: Annotated[Path, typer.Argument(help="A study file (TOML).")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for run folders, on a shared file system.")
    ] = Path("runs"),
    array: Annotated[
        int | None, typer.Option(help="Tasks; by default from two cells that are timed, and kept.")
    ] = None,
    minutes: Annotated[
        float, typer.Option(help="A task should take, if --array is not given.")
    ] = 60,
    system: Annotated[str, typer.Option(help="slurm, pbs, sge or lsf.")] = "slurm",
    option: Annotated[
        list[str] | None,
        typer.Option(help='For the batch system, as "--partition=long"; several are allowed.'),
    ] = None,
    go: Annotated[bool, typer.Option("--go", help="Submit the script too.")] = False,
    model: Annotated[str | None, typer.Option(help="Instead of the study's model.")] = None,
    device: Annotated[str | None, typer.Option(help="Instead of the study's device.")] = None,
    workers: Annotated[int, typer.Option(help="Processes of a task.")] = 1,
) -> None:
    """Write an array job for a batch system: every task computes its part of a study's cells."""
    from vlbias.errors import UnknownName
    from vlbias.files import write_texts
    from vlbias.runs.batch_system import SYSTEMS, array_script
    from vlbias.runs.batch_system import submit as hand_over
    from vlbias.studies.lifecycle import make_plan, read_study, sized_plan

    if system not in SYSTEMS:
        raise UnknownName("batch system", system, SYSTEMS)
    _refuse(array, minutes, out)
    loaded = read_study(study, model=model, device=device)
    folder = out.resolve() / loaded.name
    kept = told(lambda: kept_cells(folder))
    with kept, loading_quietly(), watched() as (events, say):
        plan = make_plan(loaded, events.note)
        say(plan.funnel)
        if plan.n_parts == 1:
            raise BadStudy(
                "array", array, "no array: the cells of this study need each other's fits"
            )
        plan = sized_plan(plan, out, events)
        tasks, limit = (array, None) if array else _sized(plan, out, minutes, events)
    tasks = min(tasks, plan.n_parts)
    given = {"out": out.resolve(), "model": model, "device": device, "workers": workers}
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    script = folder.with_name(f"{loaded.name}.{system}.sh")
    text = array_script(
        SYSTEMS[system], _command(study, given), name=loaded.name, tasks=tasks,
        logs=folder / "logs", minutes=limit, options=option or (),
    )  # fmt: skip
    write_texts({script: text})
    echo(f"{plan.n_parts} cells in {tasks} tasks: {script}")
    if go:
        echo(hand_over(SYSTEMS[system], script))
    else:
        reads = "< " if SYSTEMS[system].reads_script else ""
        echo(f"submit it: {SYSTEMS[system].command} {reads}{quote(str(script))}")
    after = f"vlbias resume {quote(str(folder))}"
    echo(f"then: {after}, which computes what is missing, and vlbias report")


def _command(study: Path, options: Mapping[str, object]) -> list[str]:
    """What a task runs, without its part."""
    command = [sys.executable, "-m", "vlbias", "run", str(study.resolve())]
    given = [(name, value) for name, value in options.items() if value is not None]
    return command + [word for name, value in given for word in (f"--{name}", str(value))]


def _refuse(array: int | None, minutes: float, out: Path) -> None:
    """Nothing, if an array job can be written with these options.

    Raises:
        BadOption: names the one with which it cannot.
    """
    if array is not None and array < 1:
        raise BadOption("array", array, "at least one task")
    if not minutes > 0:
        raise BadOption("minutes", minutes, "more than 0")
    if any(letter.isspace() for letter in str(out.resolve())):
        raise BadOption(
            "out", str(out), "a folder without blanks: batch systems split a line at them"
        )


def _sized(plan: Plan, out: Path, minutes: float, events: Events) -> tuple[int, int]:
    """Tasks and the longest time of one in minutes, from two cells of the run that are timed and kept.

    Raises:
        BadOption: if all cells are there, so that nothing can be timed.
    """
    from vlbias.runs.batch_system import tasks_for
    from vlbias.runs.events import Events
    from vlbias.studies.lifecycle import run_plan

    began, ended = time.monotonic(), list[float]()
    timing = Events(events.note, lambda done, total, samples: ended.append(time.monotonic()))
    few = (0, max(plan.n_parts // 2, 1))
    run_plan(plan, out, shard=few, workers=1, events=timing)
    if not ended:
        raise BadOption(
            "array", None, "a number of tasks: the cells that would be timed are there already"
        )
    first, rest = ended[0] - began, [b - a for a, b in pairwise(ended)]
    seconds = min(rest, default=first)
    setup = max(first - seconds, 0.0)
    tasks = tasks_for(plan.n_parts, seconds, setup, minutes)
    expected = (setup + math.ceil(plan.n_parts / tasks) * seconds) / 60
    return tasks, math.ceil(2 * expected) + _SPARE
