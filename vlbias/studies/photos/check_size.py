"""Whether a study has photos enough to say anything of an object, told before it is run."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from vlbias.causal.example import Example
from vlbias.data.table import Dataset
from vlbias.studies.check_remarks import Remark
from vlbias.studies.photos.study import PhotoStudy

__all__ = ["size_remark"]

_NO_BIAS = "the report will say 'insufficient' and give no bias"


def size_remark(
    study: PhotoStudy,
    dataset: Dataset,
    measured: Sequence[Example],
    *,
    calibrate: str,
    report: Collection[str],
    needed: bool = False,
) -> Remark:
    """Whether objects will have enough photos in every group to be said anything of.

    Args:
        study: Its groups and its operating point.
        dataset: Its classes.
        measured: The photos that count.
        calibrate: Split that sets thresholds.
        report: Splits that rates are reported of.
        needed: Whether there is no report at all without such an object.
    """
    point = study.operating_point
    kept = [e for e in measured if e.attributes["split"] in report]
    present = [[name in e.targets["present"] for name in dataset.classes] for e in kept]
    absent = ~np.array(present, bool).reshape(len(kept), len(dataset.classes))
    group = np.array([e.attributes["group"] for e in kept])
    counts = np.array([absent[group == name].sum(axis=0) for name in study.dataset.groups])
    expected = counts * (point.value if point.rule == "fpr" else 1.0)
    enough = (counts >= point.min_negatives) & (expected >= point.min_events)
    objects = int(enough.all(axis=0).sum())
    setting = sum(e.attributes["split"] == calibrate for e in measured)
    said = f"{objects} of {len(dataset.classes)} classes have enough reported photos in every group"
    if point.rule != "given":
        said += f", fewer where thresholds set on {setting} photos come out stricter"
    if objects == 0:
        return Remark(
            "size",
            "wrong" if needed else "note",
            f"{said}: {'nothing can be reported' if needed else _NO_BIAS}. Each group needs "
            f"{point.min_negatives} photos without a class, and {point.min_events:g} false positives in them; "
            f"the smallest has {int((group == min(study.dataset.groups, key=list(group).count)).sum())} "
            "photos. Take more photos, or more splits",
        )
    ratio = max(list(group).count(name) for name in study.dataset.groups) / len(kept)
    return Remark(
        "size",
        "ok",
        f"{said}; what they can show: vlbias power --n {len(kept)} --objects {objects} "
        f"--fpr {point.value:g} --ratio {ratio:.2f}",
    )
