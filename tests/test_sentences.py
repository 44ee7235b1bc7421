"""Sentences of a page claim no more than their numbers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from vlbias.report.page import _time
from vlbias.studies.bias.sentences import (
    objects_in_words,
    placebo_in_words,
)


def _row(effect: str, estimate: float, lo: float, hi: float) -> dict[str, Any]:
    return {"effect": effect, "functional": "B_lin", "estimate": estimate, "lo": lo, "hi": hi}


def test_cells_of_stopped_sessions_are_told() -> None:
    one = {"seconds": 10.0, "peak_memory_mib": 300, "cells": 4, "failed": 1}
    whole = _time({"sessions": [one], "cells": ["a", "b", "c"]})
    assert whole == "10 s in sessions that ended: 1, peak memory 300 MiB"
    assert _time({"sessions": [one], "cells": list("abcdefg")}).endswith(
        "; 4 cells are from sessions that were stopped"
    )
    assert _time({"sessions": [], "cells": ["a"]}).startswith("0 s")


def test_words_on_where_gender_comes_in() -> None:
    table = pd.DataFrame(
        [
            _row("mask-gender - placebo-image", -1.0, -2.0, -0.5),
            _row("replace-gender - placebo-text", 0.1, -0.4, 0.6),
            _row("interaction image x text", 0.2, -0.1, 0.5),
        ]
    )
    image, text, both = placebo_in_words(table)
    assert (
        image
        == "Taking gender out of the image, beyond its placebo, changes B_lin by -1.000 [-2.000, -0.500]."
    )
    assert text.endswith("cannot be told from noise at this size.")
    assert "this size. B_lin is" in both
    assert "not shown to do otherwise than add up" in both
    table.loc[2, "lo"] = 0.1
    assert "do not add up" in placebo_in_words(table)[2]
    assert placebo_in_words(pd.DataFrame()) == []


def test_words_on_objects_name_the_group_with_more() -> None:
    table = pd.DataFrame(
        {"object": ["cup", "tie"], "status": "ok", "gap": [-0.2, 0.3], "lo": [-0.3, 0.2],
         "hi": [-0.1, 0.4], "p_max_t": [0.01, 0.01]}
    )  # fmt: skip
    said = objects_in_words(table, ("masculine", "feminine"))
    assert said.index("tie (masculine: 0.300 more") < said.index(
        "cup (feminine: 0.200 more, [+0.100, +0.300])"
    )
    assert "No single object" in objects_in_words(table.assign(p_max_t=0.5), ("a", "b"))
