"""What is wrong with a study, or would make its numbers say little, before anything is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from vlbias.causal.example import Example
from vlbias.causal.staged import resolve
from vlbias.data.table import Dataset
from vlbias.errors import VlbiasError
from vlbias.models import outline_model
from vlbias.runs.study import Study
from vlbias.studies.arms.plan import measured_examples, read_dataset, read_examples
from vlbias.studies.jobs import is_of_mitigations, job_of, load_study

__all__ = ["Remark", "diagnose"]


@dataclass(frozen=True)
class Remark:
    """One thing that was looked at.

    Args:
        about: What of the study it concerns.
        verdict: "ok", "note" where numbers will say less than one may expect, or "wrong".
        text: What was found and what to do, in words.
    """

    about: str
    verdict: Literal["ok", "note", "wrong"]
    text: str


def diagnose(path: Path) -> Iterator[Remark]:
    """What can be said of a study file without loading weights: the file, the data, the model, the whole.

    Everything that does not depend on what is wrong is looked at, so that all mistakes show at once.
    """
    try:
        study = load_study(path)
    except VlbiasError as error:
        yield Remark("file", "wrong", str(error))
        return
    yield Remark("file", "ok", f"study {study.name!r}, model {study.model}")
    remarks = [*_of_model(study)]
    if not study.is_of_texts and not is_of_mitigations(study):
        remarks += _of_data(study)
    yield from remarks
    if any(remark.verdict == "wrong" for remark in remarks):
        return
    try:
        plan = job_of(study).plan(study, lambda text: None)
    except VlbiasError as error:
        yield Remark("whole", "wrong", str(error))
        return
    photos = "texts" if study.is_of_texts else "photos, every one of which opens"
    notes = any(remark.verdict == "note" for remark in remarks)
    end = "it can be run, but read the notes above" if notes else "nothing is wrong with this study"
    yield Remark("whole", "ok", f"{len(plan.examples)} {photos}; {end}")


def _of_model(study: Study) -> Iterator[Remark]:
    try:
        outline = outline_model(study.model)
    except VlbiasError as error:
        yield Remark("model", "wrong", str(error))
        return
    stages = ", ".join(stage.name for tower in outline.towers for stage in tower.stages)
    yield Remark("model", "ok", f"{outline.name}: stages {stages}")
    for text in study.mediators:
        try:
            resolve(outline, [text])
        except VlbiasError as error:
            yield Remark("mediators", "wrong", str(error))


def _of_data(study: Study) -> list[Remark]:
    try:
        dataset = read_dataset(study)
        examples, _ = read_examples(study, dataset)
    except VlbiasError as error:
        return [Remark("data", "wrong", str(error))]
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
            verdict: Literal["note", "wrong"] = "wrong" if len(lacking) == len(examples) else "note"
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
