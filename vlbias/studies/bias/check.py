"""What a study of bias can be told before it is run: worlds that photos lack, groups that are too small."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from vlbias.causal.example import Example
from vlbias.causal.image_file import frame_of
from vlbias.errors import VlbiasError
from vlbias.studies.bias.plan import measured_examples, photos_of
from vlbias.studies.bias.study import Study
from vlbias.studies.check_remarks import Remark, Verdict, model_remarks
from vlbias.studies.photos.check_size import size_remark

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
    dataset, examples, point = photos.dataset, photos.examples, study.operating_point
    groups = Counter(
        (example.attributes["split"], example.attributes["group"]) for example in examples
    )
    said = ", ".join(f"{split} {group} {count}" for (split, group), count in sorted(groups.items()))
    return [
        Remark("data", "ok", f"{len(examples)} photos: {said}"),
        *_of_turns(examples),
        *_of_worlds(study, examples),
        size_remark(
            study,
            dataset,
            measured_examples(study, examples),
            calibrate=point.split,
            report=point.report or study.dataset.splits,
        ),
    ]


def _of_turns(examples: Sequence[Example]) -> Iterator[Remark]:
    """Photos that are shown otherwise than they lie in their files."""
    sources = [next(iter(e.worlds.values()))["image"].source for e in examples if e.worlds]
    turned = sum(frame_of(s).orientation != 1 for s in sources if isinstance(s, Path))
    if turned:
        yield Remark(
            "data",
            "note",
            f"{turned} of {len(examples)} photos are turned as their EXIF orientation says; boxes count on the "
            "photo as it is shown, unless width and height of the table say that it was drawn on as it lies",
        )


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
