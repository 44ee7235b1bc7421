"""What runs on photos write beside their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlbias.causal.example import Example
from vlbias.data.table import Dataset
from vlbias.runs.data_files import says_files
from vlbias.store.boxes import write_true_boxes
from vlbias.studies.photos.study import PhotoStudy

__all__ = ["keyed_study", "photo_choices", "write_boxes"]


def keyed_study(folder: Path, keyed: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a study that determine its numbers, without where its files lie.

    What is in a file of regions is in `vlbias.runs.data_files.keyed_data`. Run folders of version 0.1.0
    have the paths in their keys, and keep them.

    Args:
        folder: The run folder, there or not.
        keyed: The fields, from `Study.keyed`.
    """
    if not says_files(folder):
        return keyed
    regions = {name: at if name == "face" else "file" for name, at in keyed["regions"].items()}
    return {**keyed, "regions": regions}


def write_boxes(folder: Path, examples: Sequence[Example], classes: Sequence[str]) -> None:
    """Write the boxes that are truly there, of the classes that are asked for."""
    known = set(classes)
    objects = [(e.id, *box) for e in examples for box in e.targets["objects"]]
    write_true_boxes(folder, [box for box in objects if box[1] in known])


def photo_choices(
    study: PhotoStudy,
    dataset: Dataset,
    *,
    model: str,
    regions: Iterable[str],
    fills: Iterable[str],
    calibrated_on: str,
    mediators: int,
) -> dict[str, str]:
    """What was chosen for everything the reference paper leaves open (U1 to U11)."""
    point = study.operating_point
    rate = point.value if point.rule == "fpr" else ""
    return {
        "U1 model": model,
        "U2 prompt": study.prompt + _asked(study),
        "U3 objects": f"{len(dataset.classes)} classes; person is left out of sums",
        "U4 threshold": f"{point.rule} {rate} on {calibrated_on}".strip(),
        "U5 groups": _source_of_groups(dataset.meta),
        "U6 mask region": ", ".join(sorted(set(regions))) or "none",
        "U7 mask fill": ", ".join(sorted(set(fills))) or "none",
        "U8 normalisation": "differences in raw units, and relative to B of the null world",
        "U9 layers": f"{mediators} mediators, listed under 'mediators'",
        "U10 retention metric": "presence mAP on the same photos",
        "U11 split": f"{study.dataset.name}: {', '.join(study.dataset.splits)}",
    }


def _asked(study: PhotoStudy) -> str:
    """How a generative model was asked, where the study says so."""
    if study.question is None:
        return ""
    return "; " + ", ".join(
        f"{name} {value!r}" for name, value in study.question.model_dump().items()
    )


def _source_of_groups(meta: Mapping[str, Any]) -> str:
    """Where the groups of the photos come from: a rule on captions, or the data themselves."""
    rule = dict(meta.get("rule", {"name": "given"}))
    if rule.pop("name") != "given":
        return f"read from captions: {', '.join(f'{key} {value}' for key, value in rule.items())}"
    column = f"column {rule['column']!r} of {meta['source']}" if "column" in rule else ""
    return f"given with the data: {column or rule.get('by', meta.get('reader', 'by whoever made them'))}"
