"""What a kind of study provides: the same file names in every folder, each loaded when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from vlbias.runs.events import QUIET, Events, Note, silent

if TYPE_CHECKING:
    from vlbias.report.blocks import Block, Section
    from vlbias.report.claims import Claim
    from vlbias.runs.interfaces import MakeWork, Plan
    from vlbias.runs.study import StudyBase
    from vlbias.store.run_folder import Run

__all__ = ["Compare", "Kind"]


class Compare(Protocol):
    """From several runs with their tables to blocks that set them side by side."""

    def __call__(
        self, runs: Sequence[tuple[Any, Any]], *, draws: int = 2000, seed: int = 0
    ) -> list[Block]:
        """The blocks; none where there is nothing to compare."""


@dataclass(frozen=True)
class Kind:
    """One kind of study: the folder `vlbias/studies/NAME`.

    Args:
        name: Of the folder, and the value of `kind` in a study file.
        about: What it is for, in one line.
        has_own: Whether a study without the key `kind` is one of these, by its other keys.
    """

    name: str
    about: str
    has_own: Callable[[Any], bool] = lambda content: False

    def _file(self, name: str) -> Any:
        return import_module(f"vlbias.studies.{self.name}.{name}")

    def _has(self, name: str) -> bool:
        return find_spec(f"vlbias.studies.{self.name}.{name}") is not None

    @property
    def study(self) -> type[StudyBase]:
        """`study.Study`: the keys of a study file."""
        study: type[StudyBase] = self._file("study").Study
        return study

    def plan(self, study: StudyBase, note: Note = silent) -> Plan:
        """`plan.make_plan`: the study, checked without loading a weight."""
        plan: Plan = self._file("plan").make_plan(study, note)
        return plan

    def estimate(self, plan: Plan, events: Events = QUIET) -> Iterator[str]:
        """`work.estimate`: what a run would take, line by line."""
        yield from self._file("work").estimate(plan, events)

    @property
    def work(self) -> MakeWork:
        """`work.Work`: the study with its model loaded."""
        work: MakeWork = self._file("work").Work
        return work

    def numbers(self, run: Run, *, draws: int, seed: int, note: Note = silent) -> Any:
        """`numbers.numbers`: the tables of a run, a dataclass of frames."""
        return self._file("numbers").numbers(run, draws=draws, seed=seed, note=note)

    def section(self, run: Run, tables: Any, *, with_images: bool = False) -> Section:
        """`page.section`: what the page says of a run."""
        section: Section = self._file("page").section(run, tables, with_images=with_images)
        return section

    @property
    def claims(self) -> Sequence[Claim]:
        """`claims.CLAIMS`: every sentence that its page can print."""
        claims: Sequence[Claim] = self._file("claims").CLAIMS
        return claims

    @property
    def compare(self) -> Compare | None:
        """`page.compare`: several runs side by side; None if the kind has no comparison."""
        return getattr(self._file("page"), "compare", None)

    @property
    def remarks(self) -> Callable[[Any], Iterator[Any]] | None:
        """`check.remarks`: what `vlbias check` finds before a run; None if the kind has no such file."""
        return self._file("check").remarks if self._has("check") else None

    @property
    def start(self) -> Callable[..., Any] | None:
        """`init.start`: what `vlbias init` writes; None if the kind has no such file."""
        return self._file("init").start if self._has("init") else None
