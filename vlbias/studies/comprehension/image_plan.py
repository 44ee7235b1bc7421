"""Items of images of a study, checked before a model is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vlbias.data import DATASETS
from vlbias.data.photo_files import verify_images
from vlbias.data.prompts import prompt_named
from vlbias.data.table import Dataset
from vlbias.errors import BadStudy
from vlbias.studies.comprehension.image_views import ImageItem, refuse_same_views
from vlbias.studies.comprehension.photo_items import PhotoItems, photo_items
from vlbias.studies.comprehension.scene_items import scene_items
from vlbias.studies.comprehension.study import Study

__all__ = ["image_plan"]


def image_plan(
    study: Study, count: int
) -> tuple[list[ImageItem], Mapping[str, str], Mapping[str, int]]:
    """Items, the hash of every photo that is used, and why others give no item.

    Args:
        study: The study.
        count: Scenes where the study does not say how many.

    Raises:
        BadData: if photos are missing or wrong, or none gives an item.
        BadStudy: if edits would change nothing that the model is given.
    """
    files: Mapping[str, str] = {}
    left_out: Mapping[str, int] = {}
    if study.dataset is None:
        items = scene_items(
            study.task,
            study.count or count,
            study.seed,
            variants=study.variants,
            surfaces=study.surfaces,
        )
    else:
        photos = _photos(study)
        maker = PhotoItems(photos, study.seed, study.surfaces, study.fill)
        items, left_out = photo_items(maker, study.task, study.count)
        used = {item.id for item in items}
        files = verify_images(replace(photos, frame=photos.frame[photos.frame["id"].isin(used)]))
    refuse_same_views(items, prompt_named(study.prompt))
    return items, files, left_out


def _photos(study: Study) -> Dataset:
    """The photos of the splits of a study."""
    spec = study.dataset
    assert spec is not None
    read = DATASETS.load(spec.name)
    dataset: Dataset = read(
        Path(str(spec.path)), spec.labels.rule(), images_anywhere=spec.images_anywhere
    )
    frame = dataset.frame[dataset.frame["split"].isin(spec.splits)]
    if frame.empty:
        raise BadStudy(
            "dataset.splits", spec.splits, f"one of {sorted(set(dataset.frame['split']))}"
        )
    return replace(dataset, frame=frame)
