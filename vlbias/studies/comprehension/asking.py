"""Comprehension of anything that can be called in Python: a function from a prompt to what is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from vlbias.runs import runner
from vlbias.runs.events import QUIET, Events
from vlbias.runs.runner import RunResult
from vlbias.studies.comprehension.items import Item
from vlbias.studies.comprehension.plan import plan_of_items
from vlbias.studies.comprehension.study import Study
from vlbias.studies.comprehension.subjects import FunctionSubject
from vlbias.studies.comprehension.work import Work

__all__ = ["ask"]


def ask(
    function: Callable[[str], str],
    *,
    name: str,
    task: str = "multiplication",
    items: Sequence[Item] | None = None,
    count: int | None = None,
    edit: str = "replace",
    parser: str = "choice",
    revision: str = "1",
    seed: int = 0,
    out: Path | str = "runs",
    events: Events = QUIET,
) -> RunResult:
    """Ask a function the items of a task, and keep its answers in a run folder.

    Killed, the same call goes on where it was. `vlbias.report` reads the folder as any other.

    Args:
        function: From a prompt to what is written. It may raise TimeoutError, which is a status.
        name: Of the function, and of the run folder.
        task: "multiplication", "unscrambling" or "entailment".
        items: In place of a task's.
        count: Items of the task; 1,000 if not given.
        edit: "replace" or "mask".
        parser: How an answer is found in what is written.
        revision: Another one where the function is another, so that no answer of the old one is used.
        seed: Of the items.
        out: Where the run folder is made.
        events: Who watches.

    Raises:
        BadStudy: if a setting is not possible.
        BadData: if an item is wrong.
    """
    content = {
        "name": name, "model": name, "task": task, "count": count, "edit": edit, "parser": parser,
        "answers": "written", "seed": seed,
    }  # fmt: skip
    study = Study.parse(content)
    plan = plan_of_items(study, items)
    subject = FunctionSubject(function, name, revision, parser)
    return runner.run_plan(
        plan,
        lambda plan, folder, note: Work(plan, folder, note, subject),
        Path(out),
        workers=1,
        events=events,
    )
