"""What a study of bias can be told before it is run: worlds that photos lack, groups that are too small."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from vlbias.causal.example import Example
from vlbias.data.table import Dataset
from vlbias.errors import VlbiasError
from vlbias.studies.bias.plan import measured_examples, photos_of
from vlbias.studies.bias.study import Study
from vlbias.studies.check_remarks import Remark, Verdict, model_remarks

__all__ = ["remarks"]


def remarks(study: Study) -> Iterator[Remark]:
    """Remarks on the model, the photos, their worlds, and the size of the groups."""
    yield from model_remarks(study, study.mediators)
    yield from _of_data(study)


def _of_data(study: Study) -> list[Remark]:
    try:
        photos = photos_of(study)
    except VlbiasError as error:
        return [Remark("data", "wrong", str(error))]
    dataset, examples = photos.dataset, photos.examples
    groups = Counter(
        (example.attributes["split"], example.attributes["group"]) for example in examples
    )
    said = ", ".join(f"{split} {group} {count}" for (split, group), count in sorted(groups.items()))
    return [
        Remark("data", "ok", f"{len(examples)} photos: {said}"),
        *_of_worlds(study, examples),
        _of_size(study, dataset, examples),
    ]


def _of_worlds(study: Study, examples: Sequence[Example]) -> Iterator[Remark]:
    for pair in study.pairs:
        lacking = [e for e in examples if not {pair.base, pair.cf} <= set(e.worlds)]
        if lacking:
            reasons = Counter(e.absent.get(pair.cf) or e.absent.get(pair.base) for e in lacking)
            most = reasons.most_common(1)[0][0]
            verdict: Verdict = "wrong" if len(lacking) == len(examples) else "note"
            remedy = "; take the contrast out" if verdict == "wrong" else ""
            yield Remark(
                pair.name,
                verdict,
                f"{len(lacking)} of {len(examples)} photos lack it ({most}){remedy}",
            )
        same = [
            e for e in examples if e not in lacking and e.worlds[pair.base] == e.worlds[pair.cf]
        ]
        if pair.base != pair.cf and same:
            yield Remark(
                pair.name,
                "note",
                f"{len(same)} of {len(examples)} photos are the same in both worlds: nothing in them tells "
                "what is taken out, and they pull every effect towards 0",
            )


def _of_size(study: Study, dataset: Dataset, examples: Sequence[Example]) -> Remark:
    """Whether objects will have enough photos in every group to be said anything of."""
    point = study.operating_point
    report = point.report or study.dataset.splits
    counting = measured_examples(study, examples)
    kept = [e for e in counting if e.attributes["split"] in report]
    present = np.array([[name in e.targets["present"] for name in dataset.classes] for e in kept])
    absent = ~present.reshape(len(kept), len(dataset.classes))
    group = np.array([e.attributes["group"] for e in kept])
    counts = np.array([absent[group == name].sum(axis=0) for name in study.dataset.groups])
    expected = counts * (point.value if point.rule == "fpr" else 1.0)
    enough = (counts >= point.min_negatives) & (expected >= point.min_events)
    objects = int(enough.all(axis=0).sum())
    setting = sum(e.attributes["split"] == point.split for e in counting)
    said = f"{objects} of {len(dataset.classes)} classes have enough reported photos in every group"
    if point.rule != "given":
        said += f", fewer where thresholds set on {setting} photos come out stricter"
    if objects == 0:
        return Remark(
            "size",
            "note",
            f"{said}: the report will say 'insufficient' and give no bias. Each group needs "
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
