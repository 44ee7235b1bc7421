"""How each kind of study is read, planned, estimated and run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlbias.runs.runner import RunResult, run_plan
from vlbias.runs.study import Study, read_toml
from vlbias.studies.arms.estimate import estimate
from vlbias.studies.arms.plan import make_plan
from vlbias.studies.mitigation.estimate import estimate_mitigation
from vlbias.studies.mitigation.plan import make_mitigation_plan
from vlbias.studies.mitigation.study import MitigationStudy
from vlbias.studies.mitigation.work.run import run_mitigation

__all__ = ["Job", "is_of_mitigations", "job_of", "load_study"]


def load_study(path: Path) -> Study:
    """The study of a TOML file; one of mitigations, if it has a table `[mitigation]`.

    Raises:
        BadStudy: if the file is missing, no TOML, or no study.
    """
    return MitigationStudy.load(path) if "mitigation" in read_toml(path) else Study.load(path)


def is_of_mitigations(study: Study) -> bool:
    """Whether it is a study of mitigations."""
    return isinstance(study, MitigationStudy)


@dataclass(frozen=True)
class Job:
    """How a study is planned, estimated and run; the same three steps for every kind of study.

    Args:
        plan: From the study and a callable that is told what is being done.
        estimate: Lines on what a run of the plan would take.
        run: Of the plan, into a folder, with `workers` and `events`.
        can_shard: Whether `run` takes a `shard`.
    """

    plan: Callable[..., Any]
    estimate: Callable[..., Iterator[str]]
    run: Callable[..., RunResult]
    can_shard: bool = True


def job_of(study: Study) -> Job:
    """How this kind of study is done."""
    if isinstance(study, MitigationStudy):
        return Job(make_mitigation_plan, estimate_mitigation, run_mitigation, can_shard=False)
    return Job(make_plan, estimate, run_plan)
