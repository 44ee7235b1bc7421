"""What is wrong with a study, or would make its numbers say little, before anything is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vlbias.errors import VlbiasError
from vlbias.studies import KINDS
from vlbias.studies.check_remarks import Remark
from vlbias.studies.lifecycle import load_study, make_plan, open_files

__all__ = ["diagnose"]


def diagnose(path: Path, *, thorough: bool = False) -> Iterator[Remark]:
    """What can be said of a study file without loading weights: the file, the data, the model, the whole.

    Everything that does not depend on what is wrong is looked at, so that all mistakes show at once.

    Args:
        path: The study file.
        thorough: Whether every photo is opened; of more than 1,000, a sample otherwise.
    """
    try:
        study = load_study(path)
    except VlbiasError as error:
        yield Remark("file", "wrong", str(error))
        return
    yield Remark("file", "ok", f"study {study.name!r} of kind {study.kind!r}")
    look = KINDS[study.kind].remarks
    remarks = [*look(study)] if look else []
    yield from remarks
    if any(remark.verdict == "wrong" for remark in remarks):
        return
    try:
        plan = make_plan(study)
        if thorough:
            open_files(plan)
    except VlbiasError as error:
        yield Remark("whole", "wrong", str(error))
        return
    notes = any(remark.verdict == "note" for remark in remarks)
    end = "it can be run, but read the notes above" if notes else "nothing is wrong with this study"
    yield Remark("whole", "ok", f"{plan.summary}; {end}")
