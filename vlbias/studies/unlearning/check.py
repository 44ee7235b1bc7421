"""What `vlbias check` says of a study of unlearning."""

from __future__ import annotations

from collections.abc import Iterator

from vlbias.studies.check_remarks import Remark, model_remarks
from vlbias.studies.unlearning.study import Study

__all__ = ["remarks"]


def remarks(study: Study) -> Iterator[Remark]:
    """Remarks on the model, and on what cannot be told without gold, holdout or several seeds."""
    yield from model_remarks(study)
    if not study.gold:
        yield Remark(
            "gold",
            "note",
            "without a model that never saw the facts nothing tells forgetting from avoiding; give one where "
            "there is one",
        )
    if not study.holdout:
        yield Remark(
            "holdout", "note", "without facts that the model never saw there is no membership AUC"
        )
    if study.trace is None:
        yield Remark(
            "trace",
            "note",
            "without tracing nothing tells where the facts are read; trace = { facts = 20 } adds the map "
            "beside the methods",
        )
    if not study.level:
        yield Remark(
            "level",
            "note",
            "at level 0 methods are compared after as many steps, not at matched forgetting",
        )
    if len(study.seeds) < 3:
        yield Remark(
            "seeds", "note", "with fewer than 3 seeds nothing shows how much chance there is"
        )
