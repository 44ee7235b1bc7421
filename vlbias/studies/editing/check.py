"""What `vlbias check` says of a study of editing."""

from __future__ import annotations

from collections.abc import Iterator

from vlbias.studies.check_remarks import Remark, model_remarks
from vlbias.studies.editing.study import Study

__all__ = ["remarks"]

_FEWEST = 50


def remarks(study: Study) -> Iterator[Remark]:
    """Remarks on the model, and on what the numbers of edits and probes can show."""
    yield from model_remarks(study)
    if study.probes < _FEWEST:
        yield Remark(
            "probes",
            "note",
            f"{study.probes} facts that are never edited tell methods apart only where they lose many; take "
            f"{_FEWEST} or more",
        )
    if study.texts is None:
        yield Remark(
            "texts",
            "note",
            "without a file of texts, second moments of keys are of the facts' own prompts; give texts such as "
            "the model was trained on",
        )
