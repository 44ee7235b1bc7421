"""What a study of mitigations can be told before it is run."""

from __future__ import annotations

from collections.abc import Iterator

from vlbias.data.world import World
from vlbias.errors import VlbiasError
from vlbias.studies.check_remarks import Remark, model_remarks
from vlbias.studies.mitigation.study import Study
from vlbias.studies.photos.check_size import size_remark
from vlbias.studies.photos.plan import read_dataset, read_photos

__all__ = ["remarks"]


def remarks(study: Study) -> Iterator[Remark]:
    """Remarks on the model, the photos, and the size of the groups."""
    yield from model_remarks(study)
    try:
        photos = read_photos(study, read_dataset(study), {"null": World()})
    except VlbiasError as error:
        yield Remark("data", "wrong", str(error))
        return
    protocol = study.mitigation
    yield size_remark(
        study,
        photos.dataset,
        photos.examples,
        calibrate=protocol.choose,
        report=(protocol.report,),
        needed=True,
    )
