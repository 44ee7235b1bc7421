"""Potential outcomes in memory, read like a run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vlbias.errors import BadOption, BadTable
from vlbias.store.run_folder import Run

__all__ = ["ArmsInMemory"]

_COLUMNS = (
    "sample_id", "cluster", "contrast", "mediator", "arm", "outcome", "target", "value", "group",
    "present",
)  # fmt: skip
_OF_ROWS = {*_COLUMNS, "status"} - {"sample_id", "cluster", "group"}


class ArmsInMemory(Run):
    """A frame of `vlbias.potential_outcomes` with the reading methods of a run folder.

    Scores are float32, as a run folder stores them, so that both give the same numbers to the last digit.

    Args:
        arms: The long frame, with the outcome "presence".
        groups: Names of the groups; gaps are the first minus the second. All that are there, in the order
            of the alphabet, if not given.
        operating_point: How scores become positives: the keys of `[operating_point]` of a study of bias.

    Raises:
        BadTable: if the frame lacks a column, has no presence scores, or has a score twice.
        BadOption: if a group is not there.
    """

    def __init__(
        self, arms: pd.DataFrame, groups: Sequence[str], operating_point: Mapping[str, Any]
    ) -> None:
        object.__setattr__(self, "folder", Path("arms in memory"))
        frame = _presence(arms)
        samples = frame.drop_duplicates("sample_id").reset_index(drop=True)
        if "split" not in samples:
            samples["split"] = "all"
        names = _groups(samples, groups)
        samples = samples[samples["group"].isin(names)].reset_index(drop=True)
        frame = frame[frame["sample_id"].isin(samples["sample_id"])]
        contrasts = list(dict.fromkeys(frame["contrast"]))
        mediated = frame[frame["mediator"] != ""]
        rows = mediated.groupby("contrast", sort=False)["mediator"].unique()
        # in place of what a folder's cached properties would read
        vars(self)["manifest"] = {
            "study": {
                "operating_point": dict(operating_point),
                "dataset": {"groups": list(names)},
                "outcomes": ["presence"],
            },
            "contrasts": {name: {"mediators": list(rows.get(name, ()))} for name in contrasts},
            "targets": list(dict.fromkeys(frame["target"])),
            "cells": [],
        }
        vars(self)["samples"] = samples.drop(columns=[n for n in samples if n in _OF_ROWS])
        place = samples["sample_id"].to_list(), list(self.targets)
        truth = frame.drop_duplicates(["sample_id", "target"])
        vars(self)["present"] = _matrix(truth, "present", *place).astype(bool)
        keys = ["contrast", "mediator", "arm", "outcome"]
        vars(self)["_slabs"] = {
            key: _matrix(part, "value", *place).astype(np.float32)
            for key, part in frame.groupby(keys, sort=False, observed=True)
        }


def _presence(arms: pd.DataFrame) -> pd.DataFrame:
    lacking = [name for name in _COLUMNS if name not in arms]
    if lacking:
        raise BadTable(
            f"arms lack the columns {', '.join(lacking)}; make them with vlbias.potential_outcomes(..., "
            "outcomes=['presence'], classes=...) from examples with groups and present classes "
            "(vlbias.paired_examples(..., groups=..., present=...))"
        )
    frame = arms[arms["outcome"] == "presence"]
    if frame.empty:
        raise BadTable("arms have no row of the outcome 'presence'; B is of presence scores")
    texts = ["contrast", "mediator", "arm", "outcome", "sample_id", "target"]
    if frame.duplicated(texts).any():
        raise BadTable("arms have a score twice; give the arms of one model and one call")
    if frame["present"].isna().any():
        raise BadTable("arms do not say of every row whether the class is present")
    return frame.assign(group=frame["group"].astype(str))


def _groups(samples: pd.DataFrame, groups: Sequence[str]) -> tuple[str, ...]:
    there = sorted(set(samples["group"]))
    names = tuple(map(str, groups)) or tuple(there)
    if len(names) < 2 or set(names) - set(there):
        raise BadOption("groups", list(names), f"two or more of those that are there: {there}")
    return names


def _matrix(
    rows: pd.DataFrame, column: str, samples: Sequence[str], targets: Sequence[str]
) -> np.ndarray[Any, np.dtype[Any]]:
    """[samples, targets] of a column; NaN where there is no row."""
    table = rows.pivot(index="sample_id", columns="target", values=column)
    matrix: np.ndarray[Any, np.dtype[Any]] = table.reindex(samples, columns=targets).to_numpy()
    return matrix
