"""What a run needs of a kind of study: a checked plan, and work that is done cell by cell."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from vlbias.runs.events import Note, Progress
from vlbias.runs.manifest import updated
from vlbias.runs.study import StudyBase

__all__ = ["BYTES_PER_ROW", "Cell", "Compute", "MakeWork", "Plan", "Step", "Work"]

BYTES_PER_ROW = 10
"""Largest size of a row of the long table on disk."""


class Plan(ABC):
    """A checked study: all that can be refused or counted before a weight is loaded."""

    study: StudyBase
    rows: int
    """Rows that the run will write, at most."""
    files: Mapping[str, str] = MappingProxyType({})
    """The files that were read as data: a name that does not move with their folder, and a hash."""

    @property
    @abstractmethod
    def funnel(self) -> str:
        """How much data is left after each step of selection, as lines."""

    @property
    def summary(self) -> str:
        """What is run, in words."""
        return f"{self.n_parts} parts"

    @property
    def device(self) -> str:
        """Where the model runs."""
        return "cpu"

    @property
    def n_parts(self) -> int:
        """Parts that different processes can work on at once, by number; 1 if none can."""
        return 1

    @property
    def units(self) -> int:
        """Pieces of which a cell may hold several without moving a number; 0 if cells are fixed."""
        return 0

    def with_units(self, chosen: Sequence[int]) -> Plan:
        """The plan of a few pieces alone, by number, which are timed."""
        raise NotImplementedError

    def with_units_per_cell(self, count: int) -> Plan:
        """The plan with so many pieces in a cell."""
        raise NotImplementedError


@dataclass(frozen=True)
class Cell:
    """One file of results.

    Args:
        key: A hash of everything that determines its numbers; the file's name.
        part: What is computed; its length is the number of samples.
        suffix: Of the file.
    """

    key: str
    part: Sized
    suffix: str = ".parquet"

    def path(self, folder: Path) -> Path:
        """The cell's file in a run folder."""
        return folder / "cells" / f"{self.key}{self.suffix}"


@dataclass(frozen=True, slots=True)
class Step:
    """A cell that was dealt with, or the end of a worker.

    Args:
        key: The cell; empty at the end of a worker.
        ok: Whether it was computed.
        samples: How many samples it has.
        peak_mib: Largest memory seen so far, of all processes together.
        stopped: Why the whole run has to stop; empty if it need not.
    """

    key: str = ""
    ok: bool = True
    samples: int = 0
    peak_mib: float = 0.0
    stopped: str = ""


class Work(ABC):
    """A study with its model loaded: what all cells of a process share.

    Attributes:
        folder: The run folder.
        cells: Every cell of the study, in order.
    """

    folder: Path
    cells: Sequence[Cell]

    @abstractmethod
    def manifest(self) -> dict[str, Any]:
        """What the run is: everything but its numbers, as manifest.json holds it."""

    @abstractmethod
    def write_samples(self) -> None:
        """Write the tables that describe the samples, once, when the run folder is new."""

    @abstractmethod
    def samples(self, part: Any) -> list[tuple[str, str]]:
        """Sample ids and clusters of a cell."""

    @abstractmethod
    def fill(self, key: str, part: Any) -> None:
        """Compute a cell and write its file whole."""

    def resumed(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any] | None:
        """The manifest of a folder that is resumed; None if it holds another study.

        Numbers that are read otherwise, at another operating point for example, need no cell anew.

        Args:
            before: The manifest in the folder.
            now: The manifest of this study.
        """
        return updated(before, now) if before["cells"] == now["cells"] else None

    @property
    def rounds(self) -> Sequence[Sequence[Cell]]:
        """The cells, round by round: those of a round depend on the files of all rounds before it."""
        return [self.cells]

    def begin(self, number: int) -> None:  # noqa: B027, most kinds have one round
        """Do once, before workers start, what the cells of a round need; all rounds before it are done.

        Args:
            number: Of the round, from 0.
        """

    def n_extra(self, todo: Sequence[Cell]) -> int:
        """Steps beside the cells `todo` that are still to be done: fits, for example."""
        return 0

    def prepare(self, todo: Sequence[Cell], progress: Progress) -> Collection[str]:
        """Do what must be done before the cells; gives the keys of what failed.

        A cell whose key is given is not run.
        """
        return ()

    def finish(self, progress: Progress) -> None:  # noqa: B027, most kinds have nothing to do
        """Do what remains once the cells are done."""


MakeWork = Callable[[Any, Path, Note], Work]
"""From a plan, the run folder and a note to the loaded work."""


class Compute(Protocol):
    """Who computes cells: processes of this machine, or a cluster.

    Attributes:
        used: Workers of the last call.
    """

    used: int

    def __call__(self, work: Work, todo: Sequence[Cell]) -> Iterator[Step]:
        """Compute cells; gives a step for each as it is done, in any order."""
