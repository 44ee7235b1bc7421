"""Strata of photos: within them the label test takes the groups to be exchangeable."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vlbias.errors import BadStudy
from vlbias.store.run_folder import Run

__all__ = ["Stratum", "strata_of"]

Stratum = Literal["split", "objects", "person_area", "agreeing_captions"]
"""What photos of one stratum share: split; number of classes present, up to 3; quarter of the share of the
photo that persons fill; number of agreeing captions."""

_MOST_OBJECTS = 3
_QUARTERS = 4


def strata_of(
    run: Run, rows: NDArray[np.intp], present: NDArray[np.bool_]
) -> NDArray[np.str_] | None:
    """[rows] label of each photo's stratum by the study's operating point; None without strata.

    Args:
        run: The run.
        rows: Of its samples.
        present: [rows, classes] which objects are there.

    Raises:
        BadStudy: if the photos of the run do not have what a stratum needs.
    """
    names = run.manifest["study"]["operating_point"].get("strata", ())
    if not names:
        return None
    samples = run.samples.iloc[rows].reset_index(drop=True)
    parts = [_stratum(name, samples, present) for name in names]
    return np.array(["/".join(labels) for labels in zip(*parts, strict=True)])


def _stratum(name: str, samples: pd.DataFrame, present: NDArray[np.bool_]) -> list[str]:
    if name == "objects":
        return [str(min(count, _MOST_OBJECTS)) for count in present.sum(axis=1)]
    if name == "person_area":
        share = samples["masked_share"].astype(float)
        ranked = pd.qcut(share.rank(method="first"), min(_QUARTERS, len(share)), labels=False)
        return [str(int(quarter)) for quarter in ranked]
    if not samples[name].astype(bool).all():
        raise BadStudy(
            "operating_point.strata",
            name,
            "strata that all photos have; no caption rule gave these photos their groups",
        )
    return [str(label) for label in samples[name]]
