"""What a study of mitigations can be told before it is run."""

from __future__ import annotations

from collections.abc import Iterator

from vlbias.studies.check_remarks import Remark, model_remarks
from vlbias.studies.mitigation.study import Study

__all__ = ["remarks"]


def remarks(study: Study) -> Iterator[Remark]:
    """Remarks on the model."""
    yield from model_remarks(study)
