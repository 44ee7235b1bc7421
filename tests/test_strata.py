"""Strata of the label test reach it from the study file."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vlbias.errors import BadStudy
from vlbias.studies.bias.study import Study
from vlbias.studies.photos.strata import strata_of

PRESENT = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0]], bool)


def run_with(*strata: str, captions: str = "3") -> Any:
    samples = pd.DataFrame(
        {"split": ["dev", "dev", "test", "test"], "masked_share": ["0.1", "0.9", "0.2", "0.5"],
         "agreeing_captions": captions}
    )  # fmt: skip
    point = {"strata": strata} if strata else {}
    return SimpleNamespace(manifest={"study": {"operating_point": point}}, samples=samples)


def labels(*strata: str, **more: str) -> list[str] | None:
    found = strata_of(run_with(*strata, **more), np.arange(4), PRESENT)
    return None if found is None else found.tolist()


def test_strata_are_crossed() -> None:
    assert labels() is None
    assert labels("split") == ["dev", "dev", "test", "test"]
    assert labels("objects", "split") == ["3/dev", "0/dev", "1/test", "2/test"]
    assert labels("person_area") == ["0", "3", "1", "2"]
    assert labels("agreeing_captions") == ["3"] * 4


def test_photos_without_captions_have_no_such_stratum() -> None:
    with pytest.raises(BadStudy, match="no caption rule"):
        labels("agreeing_captions", captions="")


def test_a_study_names_strata_that_exist() -> None:
    point = {"strata": ["objects"]}
    study = Study.parse({"name": "x", "model": "m", "operating_point": point})
    assert study.operating_point.strata == ("objects",)
    with pytest.raises(BadStudy, match="strata"):
        Study.parse({"name": "x", "model": "m", "operating_point": {"strata": ["colour"]}})
