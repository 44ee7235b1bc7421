"""C4: nets of equal accuracy and opposite comprehension, through the whole study."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from trained_subjects import TrainedSubject, direct_effect, items_of, trained_subject

from vlbias.store.run_folder import Run
from vlbias.studies.comprehension.asking import ask
from vlbias.studies.comprehension.numbers import numbers
from vlbias.studies.reporting import report

ADDS, GOES_BY_CUE, MIXED = (0.0, 300), (0.99, 25), (0.9, 100)
"""Share of texts in which the cue agrees, and steps."""


@cache
def subject(agreement: float, steps: int) -> TrainedSubject:
    return trained_subject(agreement, steps)


def asked(recipe: tuple[float, int], folder: Path, name: str) -> pd.DataFrame:
    """Effects of a net, asked items in which the cue agrees in .99."""
    found = ask(
        subject(*recipe).function, name=name, items=items_of(0.99, 600), parser="number", out=folder
    )
    tables = numbers(Run(found.folder), draws=300)
    assert tables.sizes["matched"].all()
    return tables.effects.set_index("quantity")


@pytest.mark.integration
def test_equal_accuracy_and_opposite_comprehension(tmp_path: Path) -> None:
    adds = asked(ADDS, tmp_path, "adds")
    by_cue = asked(GOES_BY_CUE, tmp_path, "goes-by-cue")
    for found in (adds, by_cue):
        assert found.loc["accuracy", "estimate"] >= 0.98
    assert abs(adds.loc["accuracy", "estimate"] - by_cue.loc["accuracy", "estimate"]) <= 0.02
    assert by_cue.loc["ADCE", "estimate"] <= 0.05
    assert by_cue.loc["unconditioned", "estimate"] <= 0.05
    assert adds.loc["ADCE", "estimate"] >= 0.95
    assert adds.loc["unconditioned", "estimate"] >= 0.95
    assert by_cue.loc["AICE", "estimate"] >= 0.85
    page = report([tmp_path / "adds", tmp_path / "goes-by-cue"], tmp_path / "page", draws=100)
    assert "Accuracy and comprehension" in page.html.read_text()


@pytest.mark.parametrize("recipe", [ADDS, GOES_BY_CUE, MIXED])
def test_the_contrast_is_the_effect_of_meaning(recipe: tuple[float, int], tmp_path: Path) -> None:
    """ADCE against the change of answers where the cue is held, which a text's edits cannot do."""
    found = asked(recipe, tmp_path, "net")
    truth = direct_effect(TrainedSubject(subject(*recipe).net, 0.99))
    assert found.loc["accuracy", "estimate"] >= 0.98
    for name in ("ADCE", "unconditioned"):
        row = found.loc[name]
        assert abs(row["estimate"] - truth) <= 0.03 or row["lo"] <= truth <= row["hi"]
