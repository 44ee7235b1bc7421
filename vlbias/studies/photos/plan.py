"""Photos of a study, read and checked before any weight is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from vlbias.causal.example import Example
from vlbias.causal.region import Region
from vlbias.causal.staged_model import StagedModel
from vlbias.data import read_photo_dataset
from vlbias.data.counterfactual_examples import make_examples
from vlbias.data.prompts import prompt_named
from vlbias.data.table import Dataset
from vlbias.data.world import World
from vlbias.errors import BadData, BadStudy, UnknownName
from vlbias.runs.events import Note, silent
from vlbias.studies.photos.photo_hashes import PhotoHashes
from vlbias.studies.photos.study import PhotoStudy
from vlbias.studies.photos.study_regions import read_regions, refuse_regions

__all__ = [
    "Photos",
    "hash_every_file",
    "read_dataset",
    "read_photos",
    "refuse_boxes",
    "refuse_prompt",
    "refuse_small_groups",
]


@dataclass(frozen=True)
class Photos:
    """Photos of a study in its worlds.

    Args:
        dataset: With labels and funnel, restricted to the study's classes.
        examples: Those of the asked splits and groups.
        regions: Name to the region of each photo, for those that the study gives.
        files: See `Plan.files`.
    """

    dataset: Dataset
    examples: tuple[Example, ...]
    regions: Mapping[str, Mapping[str, Region]]
    files: Mapping[str, str] = field(default_factory=dict)


def read_dataset(study: PhotoStudy) -> Dataset:
    """The photos of a study, restricted to its classes.

    Raises:
        UnknownName: for a dataset or a class that does not exist.
        BadData: from the reader.
    """
    spec, point = study.dataset, study.operating_point
    if spec.path is None:
        raise BadStudy(
            "dataset.path", None, f"the folder of {spec.name!r}, relative to the study file"
        )
    dataset = read_photo_dataset(
        spec.name,
        Path(spec.path),
        spec.labels.rule(),
        images_anywhere=spec.images_anywhere,
        group=spec.group,
        several=spec.several or "",
    )
    for key, names in (
        ("objects", study.objects),
        ("operating_point.thresholds", point.thresholds),
    ):
        for name in names:
            if name not in dataset.classes:
                raise UnknownName(
                    f"class of {spec.name} (study field {key!r})", name, dataset.classes
                )
    classes = study.objects or dataset.classes
    if point.rule == "given" and set(classes) - set(point.thresholds):
        lacking = sorted(set(classes) - set(point.thresholds))
        raise BadStudy(
            "operating_point.thresholds", lacking, "a threshold for every class of the study"
        )
    return replace(dataset, classes=tuple(classes))


def read_photos(
    study: PhotoStudy, dataset: Dataset, worlds: Mapping[str, World], note: Note = silent
) -> Photos:
    """The photos of a study in its worlds, and the regions that the study gives.

    Raises:
        BadStudy: if a world needs a region that nobody gives.
        BadData: if a group has no photo, or a region lies outside one.
    """
    refuse_regions(study)
    making = partial(
        make_examples,
        dataset,
        prompt=study.prompt,
        splits=study.dataset.splits,
        groups=study.dataset.groups,
        seed=study.seed,
        limit=study.dataset.limit,
        several=study.dataset.several or "",
    )
    regions = read_regions(study, making({"null": World()}), note) if study.regions else {}
    return Photos(dataset, tuple(making(worlds, regions=tuple(regions.values()))), regions)


def hash_every_file(study: PhotoStudy, photos: Photos, note: Note) -> Mapping[str, str]:
    """Name to a hash of the bytes of every photo that is used and every regions file; see `PhotoHashes`.

    Raises:
        BadData: names photos that cannot be opened.
    """
    used = {example.id for example in photos.examples}
    frame = photos.dataset.frame
    # a detector is named, not a file
    regions = {f"regions.{name}": Path(source) for name, source in study.regions.items()}
    return PhotoHashes(
        replace(photos.dataset, frame=frame[frame["id"].isin(used)]),
        {name: path for name, path in regions.items() if path.is_file()},
        note,
        study.seed,
    )


def refuse_small_groups(study: PhotoStudy, examples: Sequence[Example]) -> None:
    """Nothing, if every group has as many photos as the study asks.

    Raises:
        BadData: names the groups that have fewer.
    """
    counts = {group: 0 for group in study.dataset.groups}
    for example in examples:
        group = example.attributes["group"]
        counts[group] = counts.get(group, 0) + 1
    small = {
        group: counts[group] for group in study.dataset.groups if counts[group] < study.min_group
    }
    if small:
        raise BadData(
            f"groups with fewer than min_group = {study.min_group} photos: "
            f"{', '.join(f'{group!r} has {n}' for group, n in small.items())} (all groups: {counts}). "
            "Take more splits, another label rule, or lower min_group and read the noise floor."
        )


def refuse_prompt(prompt: str, outcomes: Sequence[str], outline: StagedModel) -> None:
    """Nothing, if a prompt gives the texts that the outcomes need.

    Raises:
        BadStudy: says what it lacks.
    """
    asked = prompt_named(prompt)
    grounds = "boxes" in outline.gives
    if "presence" in outcomes and not (asked.is_per_class or (grounds and asked.lists_classes)):
        expected = "one text per class ('{object}' in it) for 'presence'"
        if grounds:
            expected += ", or a text that lists them ('{categories}' in it)"
        raise BadStudy("prompt", prompt, expected)
    if "match" in outcomes and asked.is_per_class:
        raise BadStudy("prompt", prompt, "one text per photo (such as 'caption') for 'match'")


def refuse_boxes(keep_boxes: int, outline: StagedModel) -> None:
    """Nothing, if a model finds boxes where boxes are to be kept.

    Raises:
        BadStudy: otherwise.
    """
    if keep_boxes and "boxes" not in outline.gives:
        raise BadStudy("keep_boxes", keep_boxes, f"0: {outline.name} finds no boxes")
