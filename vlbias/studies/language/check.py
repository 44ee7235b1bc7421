"""What a study of a language model can be told before it is run."""

from __future__ import annotations

from collections.abc import Iterator

from vlbias.studies.check_remarks import Remark, model_remarks
from vlbias.studies.language.study import Study

__all__ = ["remarks"]


def remarks(study: Study) -> Iterator[Remark]:
    """Remarks on the model and its mediators."""
    yield from model_remarks(study, study.mediators)
