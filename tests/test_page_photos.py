"""Example photos on a page: asked for, allowed by their licence, and still those of the run."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_layouts import write_photo
from PIL import Image

from vlbias.data.own_photos import read_own
from vlbias.errors import BadTable
from vlbias.store.cell_writer import CellWriter
from vlbias.store.run_folder import Run
from vlbias.studies.bias.study import OperatingPoint, Study
from vlbias.studies.photos.example_photos import example_photos, may_be_shown
from vlbias.studies.photos.study import PhotoSet
from vlbias.studies.reporting import report


@pytest.mark.parametrize(
    ("licence", "shown"),
    [
        ("Attribution License", True),
        ("Attribution-ShareAlike License", True),
        ("CC BY 4.0", True),
        ("CC BY-SA 2.0", True),
        ("own", True),
        ("No known copyright restrictions", True),
        ("Attribution-NonCommercial License", False),
        ("Attribution-NonCommercial-ShareAlike License", False),
        ("Attribution-NoDerivs License", False),
        ("CC BY-NC 4.0", False),
        ("CC BY-ND 4.0", False),
        ("ownership unclear", False),
        ("", False),
    ],
)
def test_only_what_may_be_passed_on_is_shown(licence: str, shown: bool) -> None:
    assert may_be_shown(licence) is shown


@pytest.fixture(scope="module")
def photo_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run folder made by hand: 30 photos, one object that the scores put where it is not."""
    root = tmp_path_factory.mktemp("photos")
    header = ("image", "group", "labels", "split", "licence", "boxes")
    with (root / "photos.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(header)
        for i in range(30):
            write_photo(root / f"{i:02d}.jpg", (64, 48), i)
            group = ("masculine", "feminine")[i % 2]
            licence = "CC BY 4.0" if i < 20 else "CC BY-NC 4.0"
            box = json.dumps([["person", 4, 4, 20, 40]])
            rows.writerow([f"{i:02d}.jpg", group, "dog", ("dev", "test")[i % 4 // 2], licence, box])
    dataset = read_own(root / "photos.csv")
    study = Study(
        name="photos",
        model="toy",
        dataset=PhotoSet(name="own", path=root / "photos.csv"),
        contrasts=("null->null",),
        operating_point=OperatingPoint(
            rule="given", report=("test",), min_negatives=1, min_events=0,
            thresholds={"dog": 0.5, "person": 0.5},
        ),
    )  # fmt: skip
    folder = root / "run"
    (folder / "cells").mkdir(parents=True)
    frame = dataset.frame
    pd.DataFrame(
        {"sample_id": frame["id"], "cluster": frame["cluster"], "group": frame["group"],
         "split": frame["split"]}
    ).to_parquet(folder / "samples.parquet")  # fmt: skip
    pd.DataFrame({"sample_id": frame["id"][:0], "target": frame["id"][:0]}).to_parquet(
        folder / "present.parquet"
    )
    manifest = {
        "schema": 1, "study": study.model_dump(mode="json"), "targets": ["dog", "person"],
        "cells": ["a"], "contrasts": {"null->null": {"alters": [], "mediators": []}},
        "data": {"content_hash": dataset.content_hash, "meta": {}}, "mediators": {},
        "model": {"name": "toy", "revision": "0"}, "paper_unknowns": {}, "commit": None,
        "created": "then", "packages": {"vlbias": "0"}, "machine": {"device": "cpu"}, "sessions": [],
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    samples = list(zip(frame["id"], frame["cluster"], strict=True))
    writer = CellWriter(folder, "a", model="toy", mitigation="", samples=samples)
    scores = np.tile(np.linspace(0, 1, 30)[:, None], (1, 2))
    scores[:, 1] = 0
    for arm in ("00", "11"):
        names = {"contrast": "null->null", "mediator": "", "arm": arm, "outcome": "presence"}
        writer.add(names, range(30), ["dog", "person"], scores)
    writer.close()
    return Run(folder)


def test_the_surest_false_positive_that_may_be_shown_is_shown(photo_run: Run) -> None:
    block = example_photos(photo_run)
    # photos 20 to 29 have higher scores and a licence that does not allow it; the reported are 2, 3 of 4
    assert "dog is not here; score 0.655" in block.gallery
    assert "19.jpg; CC BY 4.0" in block.gallery
    assert block.gallery.count("<img") == 1
    assert "10 of 30 photos may not be shown" in block.text
    data = re.search(r"base64,([^\"]+)", block.gallery)
    assert data is not None
    with Image.open(io.BytesIO(base64.b64decode(data[1]))) as image:
        assert image.size == (260, 195)


def test_a_run_without_support_says_what_is_missing(photo_run: Run, tmp_path: Path) -> None:
    few = tmp_path / "few"
    shutil.copytree(photo_run.folder, few)
    manifest = json.loads((few / "manifest.json").read_text())
    manifest["study"]["operating_point"]["min_negatives"] = 50
    (few / "manifest.json").write_text(json.dumps(manifest))
    page = report(few, tmp_path / "page", draws=20, with_images=True)
    text = page.html.read_text()
    assert "nothing can be said about bias at this size" in page.summary
    assert "Each group needs 50 photos without an object" in text
    assert "No photo may be shown" in text
    assert not re.search(r"\bnan\b", text)
    assert "gender-bias" not in page.card.read_text(), "no number is published where there is none"


def test_photos_that_changed_since_the_run_are_refused(photo_run: Run) -> None:
    photo_run.manifest["data"]["content_hash"] = "0"
    with pytest.raises(BadTable, match="changed since"):
        example_photos(photo_run)
