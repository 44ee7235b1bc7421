"""Effects on means by group, whatever the groups are called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import vlbias as vb
from vlbias.errors import BadTable


def arms(groups: list[Any]) -> pd.DataFrame:
    """Total effects 1, 2, 3 ... of samples in groups."""
    rows = [
        {
            "sample_id": f"s{i}",
            "cluster": f"s{i}",
            "arm": arm,
            "value": float((i + 1) * (arm == "11")),
        }
        for i in range(len(groups))
        for arm in ("00", "11")
    ]
    fixed = {"contrast": "null->both", "mediator": "", "outcome": "match", "target": ""}
    frame = pd.DataFrame(rows).assign(**fixed)
    # a list would become an array of one kind
    return frame.assign(group=pd.Series([g for g in groups for _ in range(2)], dtype=object))


@pytest.mark.parametrize(
    "groups",
    [[0, 0, 1, 1], [0.5, 0.5, 1.5, 1.5], [False, False, True, True], [1, 1, "1", "1"],
     [("a", 1), ("a", 1), ("b", 0), ("b", 0)], ["f", "f", "m", "m"]],
)  # fmt: skip
def test_groups_of_any_kind_have_their_means(groups: list[Any]) -> None:
    frame = vb.effects(arms(groups), by="group", n_boot=20)
    first, second = groups[0], groups[-1]
    assert frame["group"].tolist() == [first, second, f"{first} - {second}"]
    assert frame["estimate"].tolist() == [1.5, 3.5, -2.0]
    assert frame["n"].tolist() == [2, 2, 4]


def test_a_column_of_numbers_is_as_good_as_one_of_words() -> None:
    table = arms([0, 0, 1, 1])
    numbers = vb.effects(table.assign(group=table["group"].astype(np.int64)), by="group", n_boot=20)
    words = vb.effects(table.assign(group=table["group"].astype(str)), by="group", n_boot=20)
    assert numbers.drop(columns="group").equals(words.drop(columns="group"))


def test_a_group_named_like_a_difference_is_kept() -> None:
    frame = vb.effects(arms(["a", "b", "a - b"]), by="group", n_boot=20)
    assert frame[frame["group"] == "a - b"]["estimate"].tolist() == [3.0, -1.0]


@pytest.mark.parametrize("gone", [np.nan, None, pd.NaT])
def test_samples_without_a_group_are_named(gone: Any) -> None:
    with pytest.raises(BadTable, match="2 samples have no 'group', 's1' first"):
        vb.effects(arms(["f", gone, gone, "m"]), by="group", n_boot=20)


def test_values_that_are_no_groups_are_refused() -> None:
    with pytest.raises(BadTable, match="no groups"):
        vb.effects(arms([["f"], ["m"]]), by="group", n_boot=20)
