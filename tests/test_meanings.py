"""What columns are said to mean in kinds that are not of photos, and what the heading of a run says."""

from __future__ import annotations

import pandas as pd
import pytest

from vlbias.report.definitions import DEFINITIONS, defined
from vlbias.report.tables import with_limits
from vlbias.studies.cohort import page as cohort
from vlbias.studies.comprehension.meanings import MEANINGS as COMPREHENSION
from vlbias.studies.language import page as language
from vlbias.studies.planted import page as planted
from vlbias.studies.symbolic.meanings import MEANINGS as SYMBOLIC

_OF_PHOTOS = ("photo", "B of the first", "the mitigation", "false-positive", "deviation", "odds")


@pytest.mark.parametrize(
    ("page", "columns"),
    [
        (cohort, [*cohort._SHOWN, "control", "adjustment", "lo", "hi", "p", "step", "left"]),
        (planted, ["method", "plant", "change", "share", "lo", "hi", "right"]),
    ],
)
def test_no_column_is_said_to_be_of_photos_where_there_are_none(page, columns) -> None:
    made = page.block("a title", "text", table=pd.DataFrame([dict.fromkeys(columns, 1)]))
    told = dict(made.columns)
    assert len(told) == len(columns), "every column is explained"
    wrong = {head: said for head, said in told.items() if any(word in said for word in _OF_PHOTOS)}
    assert wrong == {}


def test_a_difference_of_odds_is_no_difference_of_b() -> None:
    made = language.block("a title", "text", table=pd.DataFrame({"x": [1], "difference": [1]}))
    assert dict(made.columns)["difference"].endswith("difference of odds")


def test_limits_without_width_are_none() -> None:
    row = pd.Series({"estimate": 0.024, "lo": 0.024, "hi": 0.024})
    assert with_limits(row) == "+0.024, without limits"
    assert with_limits(row.replace(0.024, 0.0)) == "+0.000, without limits"


def test_the_first_column_says_what_a_row_is_of() -> None:
    frame = pd.DataFrame({"loaded": [6], "contrast": ["null->a"], "target": ["anti"], "kept": [2]})
    assert list(language._named_first(frame)) == ["contrast", "target", "loaded", "kept"]


@pytest.mark.parametrize("meanings", [SYMBOLIC, COMPREHENSION])
def test_what_is_called_alike_elsewhere_is_told_anew(meanings: dict[str, str]) -> None:
    for name in {"estimate", "p", "mediator"} & set(meanings):
        assert defined(name, meanings) != DEFINITIONS[name]
