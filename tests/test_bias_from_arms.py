"""B from arms in memory: the page's numbers, to the digit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from toy_studies import CLASSES, toy_study

import vlbias as vb
from vlbias.errors import BadData, BadOption, BadStudy, BadTable
from vlbias.models import load_model
from vlbias.store.run_folder import Run
from vlbias.studies.bias.numbers import numbers

DRAWS = 60


@pytest.fixture(scope="module")
def arms() -> pd.DataFrame:
    """The arms of the toy run, of the same photos, made in memory."""
    plan = toy_study(photos=600)
    return vb.potential_outcomes(
        load_model("toy"), plan.examples, outcomes=["presence"], classes=CLASSES,
        contrasts=plan.study.contrasts, batch_size=150,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(arms: pd.DataFrame) -> object:
    return vb.bias(
        arms, groups=("masculine", "feminine"), split="dev", report=["test"], draws=DRAWS
    )


@pytest.mark.integration
def test_numbers_equal_those_of_the_page(found: object, toy_folder: Path) -> None:
    tables = numbers(Run(toy_folder), draws=DRAWS, seed=0)
    pd.testing.assert_frame_equal(found.table, tables.bias, check_exact=True)
    pd.testing.assert_frame_equal(found.thresholds, tables.thresholds, check_exact=True)
    shared = [name for name in found.objects if name in tables.objects]
    pd.testing.assert_frame_equal(found.objects[shared], tables.objects[shared], check_exact=True)
    worlds = tables.conditions[tables.conditions["world"].isin(found.worlds["world"])]
    pd.testing.assert_frame_equal(found.worlds, worlds, check_exact=True)


def test_numbers_are_never_bare(found: object) -> None:
    lo, hi = found.limits
    assert lo <= found.crossfit <= found.plugin <= hi
    assert f"p = {found.p:.2g}" in repr(found)
    shown = found._repr_html_()
    assert "<p>How often the model sees objects" in shown
    assert shown.count("<table") == 2
    assert "bench" in shown


def test_all_photos_set_thresholds_and_are_reported_where_there_is_no_split(
    arms: pd.DataFrame,
) -> None:
    few = arms[arms["contrast"] == "null->both"].drop(columns="split")
    found = vb.bias(few, value=0.2, draws=DRAWS)
    null = few[few["arm"] == "00"]
    for name, part in null[~null["present"]].groupby("target"):
        limit = found.thresholds.set_index("object")["threshold"][name]
        assert (part["value"].astype(np.float32) >= limit).mean() == pytest.approx(0.2, abs=0.01)
    # groups in the order of the alphabet: the gap has the other sign
    turned = vb.bias(few, value=0.2, draws=DRAWS, groups=("masculine", "feminine"))
    assert found.table["signed"].item() == pytest.approx(-turned.table["signed"].item())


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"groups": ("masculine", "men")}, BadOption, "feminine"),
        ({"split": "train"}, BadOption, "train"),
        ({"report": ["train"]}, BadOption, "train"),
        ({"draws": 0}, BadOption, "draw"),
        ({"value": 7}, BadStudy, "value"),
        ({"valeu": 0.1}, BadStudy, "valeu"),
    ],
)
def test_wrong_options_are_named(
    arms: pd.DataFrame, options: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        vb.bias(arms, **options)


def test_arms_without_truth_or_presence_are_refused(arms: pd.DataFrame) -> None:
    with pytest.raises(BadTable, match=r"lack the columns present.*paired_examples"):
        vb.bias(arms.drop(columns="present"))
    with pytest.raises(BadTable, match="no row of the outcome 'presence'"):
        vb.bias(arms.assign(outcome="match"))
    with pytest.raises(BadTable, match="twice"):
        vb.bias(pd.concat([arms, arms]))


def test_pairs_in_memory_say_what_is_present() -> None:
    from PIL import Image

    image = Image.new("RGB", (8, 8))
    given = vb.paired_examples(
        [image], [image], [("a cup", "a dog")], groups=["a"], present=[{"cup"}], splits=["dev"]
    )
    assert given[0].targets == {"present": frozenset({"cup"})}
    assert given[0].attributes == {"group": "a", "split": "dev"}
    with pytest.raises(BadData, match="the word 'cup'"):
        vb.paired_examples([image], [image], ["a cup"], present=["cup"])
    with pytest.raises(BadData, match="'present': 2"):
        vb.paired_examples([image], [image], ["a cup"], present=[{"cup"}, {"dog"}])
