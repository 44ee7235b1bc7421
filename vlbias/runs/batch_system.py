"""Array jobs of batch systems: a script in which every task owns the cells of its number.

A task takes every n-th cell, `vlbias run STUDY --shard i/n`. No lock is needed between tasks, so that file
systems without trustworthy locks will do; a task that is requeued goes on where it was.
"""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from vlbias.errors import BadOption, BadTable

__all__ = ["SYSTEMS", "BatchSystem", "array_script", "submit", "tasks_for"]


@dataclass(frozen=True)
class BatchSystem:
    """How a batch system is told of an array job.

    Args:
        command: Takes a script.
        reads_script: Whether it takes the script's text on its standard input, not its name.
        prefix: Begins a line for the system.
        array: Option for tasks numbered from `first` to `last`.
        name: Option for the job's name.
        log: Option for the file of a task's output; `{folder}` is its folder.
        minutes: Option for the longest time of a task; `{minutes}` and `{clock}` (H:MM:SS) stand for it.
        index: Shell variable with a task's number.
        first: The number of the first task.
        requeue: Option that a task which lost its machine is started again.
    """

    command: str
    reads_script: bool
    prefix: str
    array: str
    name: str
    log: str
    minutes: str
    index: str
    first: int
    requeue: str = ""


SYSTEMS: Mapping[str, BatchSystem] = {
    "slurm": BatchSystem(
        "sbatch", False, "#SBATCH", "--array={first}-{last}", "--job-name={name}",
        "--output={folder}/%a.log", "--time={minutes}", "SLURM_ARRAY_TASK_ID", 0, "--requeue",
    ),
    "pbs": BatchSystem(
        "qsub", False, "#PBS", "-J {first}-{last}", "-N {name}", "-j oe -o {folder}/",
        "-l walltime={clock}", "PBS_ARRAY_INDEX", 0, "-r y",
    ),
    "sge": BatchSystem(
        "qsub", False, "#$", "-t {first}-{last}", "-N {name}", "-j y -o {folder}/",
        "-l h_rt={clock}", "SGE_TASK_ID", 1, "-r y",
    ),
    "lsf": BatchSystem(
        "bsub", True, "#BSUB", "-J {name}[{first}-{last}]", "", "-o {folder}/%I.log",
        "-W {minutes}", "LSB_JOBINDEX", 1, "-r",
    ),
}  # fmt: skip
"""Name of a batch system to how it is told."""


def array_script(
    system: BatchSystem,
    command: Sequence[str],
    *,
    name: str,
    tasks: int,
    logs: Path,
    minutes: int | None = None,
    options: Sequence[str] = (),
) -> str:
    """The text of a script for an array job.

    Args:
        system: One of `SYSTEMS`.
        command: Computes a part of the cells; `--shard i/n` is added.
        name: Of the job.
        tasks: How many tasks share the cells.
        logs: Folder for their output.
        minutes: Longest time of a task; None: as the system does it.
        options: Further options for the system, as they stand behind its prefix.
    """
    first = system.first
    values = {"first": first, "last": first + tasks - 1, "name": name, "folder": logs}
    asked = [system.array, system.name, system.log, system.requeue]
    if minutes is not None:
        asked.append(system.minutes)
        values |= {"minutes": minutes, "clock": f"{minutes // 60}:{minutes % 60:02}:00"}
    lines = [one.format(**values) for one in asked if one] + list(options)
    number = f"${system.index}" if first == 0 else f"$(({system.index} - {first}))"
    shown = " ".join(map(quote, command))
    return "\n".join(
        [
            "#!/bin/sh",
            *(f"{system.prefix} {line}" for line in lines),
            "# every task owns the cells of its number; one that is started again goes on where it was",
            f'exec {shown} --shard "{number}/{tasks}"',
            "",
        ]
    )


def tasks_for(cells: int, seconds: float, setup: float, minutes: float) -> int:
    """How many tasks a study should have, so that each takes about so many minutes.

    Args:
        cells: Cells to compute.
        seconds: A cell takes.
        setup: Seconds before the first cell: loading, encoding what all share.
        minutes: That a task should take.
    """
    room = max(minutes * 60 - setup, seconds)
    return max(1, min(cells, math.ceil(cells * seconds / room)))


def submit(system: BatchSystem, script: Path) -> str:
    """Hand a script to its batch system; gives what the system answers.

    Raises:
        BadOption: if its command is not on this machine.
        BadTable: if the system refuses the script; says why.
    """
    if shutil.which(system.command) is None:
        raise BadOption(
            "go", system.command, f"a machine with {system.command}; the script is {script}"
        )
    command = [system.command] if system.reads_script else [system.command, str(script)]
    text = script.read_text() if system.reads_script else None
    answer = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise BadTable(
            f"{system.command} refused {script}: {(answer.stderr or answer.stdout).strip()[:500]}"
        )
    return answer.stdout.strip()
