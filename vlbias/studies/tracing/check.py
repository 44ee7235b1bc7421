"""What `vlbias check` says of a study of causal tracing."""

from __future__ import annotations

from collections.abc import Iterator

from vlbias.errors import VlbiasError
from vlbias.studies.check_remarks import Remark, model_remarks
from vlbias.studies.knowledge.fact_choice import facts_of
from vlbias.studies.tracing.study import Study

__all__ = ["remarks"]

_FEWEST = 10


def remarks(study: Study) -> Iterator[Remark]:
    """Remarks on the model, the facts, and what the map can show."""
    yield from model_remarks(study)
    try:
        facts = facts_of(study.facts, study.seed, *study.compare).facts
    except VlbiasError as error:
        yield Remark("facts", "wrong", str(error))
        return
    subjects = len({fact.subject for fact in facts})
    few = subjects < _FEWEST
    yield Remark(
        "facts",
        "note" if few else "ok",
        f"{len(facts)} facts of {subjects} subjects"
        + (f"; limits over fewer than {_FEWEST} subjects are rough" if few else ""),
    )
    if not study.compare:
        yield Remark(
            "compare",
            "note",
            "without a second group of facts the map shows where any answer passes, not what is particular to "
            "these facts",
        )
    if study.window > 1:
        yield Remark(
            "window",
            "note",
            f"windows of {study.window} layers cannot tell layers that are nearer than that",
        )
