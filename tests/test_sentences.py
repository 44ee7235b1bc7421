"""Sentences of a page claim no more than their numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vlbias.report.blocks import Section
from vlbias.report.page import _time
from vlbias.studies import KINDS, claims_document
from vlbias.studies.bias.numbers.families import STATEMENTS, statements
from vlbias.studies.bias.sentences import (
    interaction_in_words,
    objects_in_words,
    worlds_in_words,
)


def _family(**p: float) -> pd.DataFrame:
    """A table of strictness with one contrast, whose statements have these p-values."""
    rows = [
        {"contrast": "null->mask-gender", "effect": effect, "functional": functional, "estimate": -1.0,
         "se": 0.3, "df": np.inf, "lo": -1.5, "hi": -0.5, "p": p[name], "n": 90}
        for name, (effect, functional) in zip(("b", "strict", "placebo"), STATEMENTS.values(), strict=True)
    ]  # fmt: skip
    return statements(pd.DataFrame(rows))


def test_cells_of_stopped_sessions_are_told() -> None:
    one = {"seconds": 10.0, "peak_memory_mib": 300, "cells": 4, "failed": 1}
    whole = _time(["a", "b", "c"], [one])
    assert whole == "10 s in sessions that ended: 1, peak memory 300 MiB"
    assert _time(list("abcdefg"), [one]).endswith("; 4 cells are from sessions that were stopped")
    assert _time(["a"], []).startswith("0 s")


def test_only_statements_that_survive_correction_are_made() -> None:
    none = pd.DataFrame()
    b, strict, placebo = worlds_in_words(
        _family(b=0.001, strict=0.002, placebo=0.003), none, is_bias_shown=True
    )
    assert b == (
        "Masking the persons in the image: B itself falls, by between 0.500 and 1.500 (95 %)."
    )
    assert "(B_lin), are smaller by 1.000 [0.500, 1.500] than in a model" in strict
    assert placebo.endswith("B_lin is lower by 1.000 [0.500, 1.500] than under this placebo.")
    assert [one.claim for one in (b, strict, placebo)] == [
        "B-changed", "beyond-strictness", "beyond-placebo",
    ]  # fmt: skip
    # p of .012 alone is below 5 %, and not after Holm over three at 2.5 %
    (open_,) = worlds_in_words(
        _family(b=0.012, strict=0.012, placebo=0.012), none, is_bias_shown=True
    )
    assert "no change survives correction over the 3 statements" in open_
    assert "at most 1.493 (mask-gender)" in open_


def test_gaps_that_shrink_while_others_open_are_no_remedy() -> None:
    family = _family(b=0.5, strict=0.001, placebo=0.5)
    (said,) = worlds_in_words(family, pd.DataFrame(), is_bias_shown=True)
    assert said.endswith("as strict for every class.")
    larger = family.assign(B_change=0.4)
    (said,) = worlds_in_words(larger, pd.DataFrame(), is_bias_shown=True)
    assert said.endswith(", while B itself is estimated to be larger by 0.400: this is no remedy.")


def test_behind_a_closed_gate_nothing_is_stated_on_worlds() -> None:
    sure = _family(b=1e-9, strict=1e-9, placebo=1e-9)
    (said,) = worlds_in_words(sure, pd.DataFrame(), is_bias_shown=False)
    assert said.claim == "gate-closed"
    assert worlds_in_words(pd.DataFrame(), pd.DataFrame(), is_bias_shown=False) == []


def test_levelling_down_is_named() -> None:
    levels = pd.DataFrame(
        [
            {
                "contrast": "null->both",
                "levelling_down": True,
                "lower_before": 0.1,
                "lower_after": 0.2,
            }
        ]
    )
    said = worlds_in_words(_family(b=0.5, strict=0.5, placebo=0.5), levels, is_bias_shown=True)
    assert "gets more of them (0.100 before, 0.200 after)" in said[-1]
    assert said[-1].exploratory


def test_words_on_the_interaction() -> None:
    table = pd.DataFrame(
        [{"effect": "interaction image x text", "functional": "B_lin", "estimate": 0.2, "lo": -0.1,
          "hi": 0.5}]
    )  # fmt: skip
    assert "not shown to do otherwise than add up" in interaction_in_words(table)[0]
    table.loc[0, "lo"] = 0.1
    assert "do not add up" in interaction_in_words(table)[0]
    assert interaction_in_words(pd.DataFrame()) == []


def test_every_sentence_of_a_page_is_a_claim_of_its_kind() -> None:
    with pytest.raises(TypeError, match="what a Claim says"):
        Section("some words", [], [])  # type: ignore[arg-type]
    for kind in KINDS.values():
        names = [one.name for one in kind.claims]
        assert len(names) == len(set(names)) > 0


def test_the_document_of_claims_is_that_of_the_code() -> None:
    written = (Path(__file__).parents[1] / "docs/claims.md").read_text()
    assert written == claims_document(), "run: vlbias list claims > docs/claims.md"


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
