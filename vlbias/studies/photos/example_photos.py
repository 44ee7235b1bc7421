"""Example photos on a page: only where they are asked for, and only those whose licence allows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import ImageDraw

from vlbias.causal.image_file import open_image
from vlbias.data import DATASETS, read_photo_dataset
from vlbias.data.gender_labels import GenderRule
from vlbias.data.table import Dataset
from vlbias.errors import BadData, BadTable
from vlbias.report.blocks import Block
from vlbias.report.pictures import pictured
from vlbias.store.run_folder import Run
from vlbias.studies.photos.scores import PresenceScores

__all__ = ["FREE", "dataset_of", "example_photos", "false_positives", "may_be_shown"]

FREE = (
    "attribution license", "attribution-sharealike license", "cc by", "cc by-sa", "cc0",
    "public domain", "no known copyright restrictions", "united states government work", "own",
)  # fmt: skip
"""Licences under which a page with a photo on it may be passed on; versions may follow the name."""
_WIDTH = 260


def may_be_shown(licence: str) -> bool:
    """Whether a licence lets anyone pass on a page that shows the photo, made smaller.

    What forbids changes or commercial use does not, and neither does a licence that is not known.
    """
    name = licence.strip().lower()
    if any(word in name for word in ("noncommercial", "-nc", "noderiv", "-nd")):
        return False
    return any(name == free or name.startswith(f"{free} ") for free in FREE)


def example_photos(run: Run, *, most: int = 8) -> Block:
    """Photos in which the objects with the largest gaps were seen and are not there, one an object.

    Args:
        run: A run with presence scores.
        most: Photos that are shown.

    Raises:
        BadTable: if the photos are not those of the run any more, or it had none.
    """
    dataset = dataset_of(run)
    rows = dataset.frame.set_index("id")
    allowed = rows["licence"].map(may_be_shown)
    job = PresenceScores(run)
    found = [
        _figure(dataset, rows.loc[sample], said)
        for sample, said in false_positives(job, set(rows.index[allowed]), most)
    ]
    kept = rows.index.isin(run.samples["sample_id"])
    hidden = int((~allowed[kept]).sum())
    text = (
        "For each of the objects with the largest gaps, the photo without it on which the model was most sure "
        "of it. Chosen by score, not as typical. Boxes: persons. "
        f"{hidden} of {int(kept.sum())} photos may not be shown by their licence, or have none in the data."
    )
    gallery = "".join(found) or "<p>No photo may be shown.</p>"
    return Block("False positives on photos", text, gallery=gallery)


def dataset_of(run: Run) -> Dataset:
    """The photos that a run was made on.

    Raises:
        BadTable: if they are not there any more, or there were none.
    """
    spec = run.manifest["study"]["dataset"]
    if spec["name"] not in DATASETS or spec["path"] is None:
        raise BadTable(f"{run.folder} is no run on photos; leave --with-images out")
    rule = GenderRule(**spec["labels"])
    try:
        dataset = read_photo_dataset(
            spec["name"], Path(spec["path"]), rule, group=spec.get("group", ""),
            several=spec.get("several") or "",
        )  # fmt: skip
    except BadData as error:
        raise BadTable(f"the photos of {run.folder} cannot be read ({error})") from error
    if dataset.content_hash != run.manifest["data"]["content_hash"]:
        raise BadTable(
            f"the data in {spec['path']} have changed since {run.folder} was run; leave --with-images out"
        )
    return dataset


def false_positives(job: PresenceScores, allowed: set[str], most: int) -> Iterator[tuple[str, str]]:
    """Sample and sentence, at most one an object, objects by the size of their gap.

    Args:
        job: The run's numbers.
        allowed: Samples that may be shown.
        most: How many are given.
    """
    scores, panel = job.null, job.panel
    free = np.array([sample in allowed for sample in panel.sample])
    shown: set[str] = set()
    for column in sorted(job.objects, key=lambda k: -abs(_gap(job, k))):
        seen = np.where(free & ~panel.present[:, column], scores[:, column], -np.inf)
        seen[[sample in shown for sample in panel.sample]] = -np.inf
        best = int(np.nanargmax(seen))
        if len(shown) == most or not seen[best] >= job.thresholds[column]:
            continue
        shown.add(str(panel.sample[best]))
        yield (
            str(panel.sample[best]),
            f"{panel.targets[column]} is not here; score {scores[best, column]:.3f}, threshold "
            f"{job.thresholds[column]:.3f}; group {panel.group[best]}",
        )


def _gap(job: PresenceScores, column: int) -> float:
    """Between the largest and the smallest false-positive rate of the groups."""
    absent = ~job.panel.present[:, column] & ~np.isnan(job.null[:, column])
    positive = job.null[:, column] >= job.thresholds[column]
    rates = [positive[absent & (job.panel.group == group)].mean() for group in job.panel.groups]
    return float(np.ptp(rates))


def _figure(dataset: Dataset, row: pd.Series[Any], said: str) -> str:
    image = open_image(dataset.image_root / row["image"])
    scale = _WIDTH / image.width
    image = image.resize((_WIDTH, max(1, round(image.height * scale))))
    pen = ImageDraw.Draw(image)
    for box in row["objects"]:
        if box["class"] == "person":
            pen.rectangle(
                [box[side] * scale for side in ("x0", "y0", "x1", "y1")], outline="#f6ad55", width=2
            )
    return pictured(image, said, source=f"{row.name}; {row['licence']}; {row['source']}")
