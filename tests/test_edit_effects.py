"""Estimators of comprehension against a mixture with closed forms, and the coverage of their limits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from mixture_subject import closed_form, mixture

from vlbias.analysis.edit_effects import edit_effects, edit_sizes, item_means
from vlbias.errors import BadStudy

GRID = [
    (1.0, 0.9, 0.3, 0.0), (0.0, 0.9, 0.3, 0.0), (0.5, 0.9, 0.3, 0.0), (0.5, 0.2, 0.3, 0.0),
    (0.3, 0.9, 0.3, 0.0), (0.3, 0.2, 0.3, 0.0), (0.3, 0.2, 0.6, 0.0), (0.0, 0.9, 0.3, 0.3),
    (0.5, 0.9, 0.3, 0.3),
]  # fmt: skip
MANY = 200_000


def estimates(items: pd.DataFrame, draws: int = 2) -> pd.Series:
    return edit_effects(items, draws=draws).set_index("quantity")["estimate"]


@pytest.mark.parametrize("parameters", GRID)
def test_estimates_are_the_closed_forms(parameters: tuple[float, ...]) -> None:
    """C1, and the unconditioned contrast."""
    found = estimates(mixture(*parameters, items=MANY)[0])
    expected = closed_form(*parameters)
    for name in ("ADCE", "AICE", "unconditioned"):
        assert found[name] == pytest.approx(expected[name], abs=0.003), name


def test_selection_of_correct_items_biases_the_published_contrast() -> None:
    """C2: conditioned .543, unconditioned .300, which is the truth."""
    found = estimates(mixture(0.3, 0.2, 0.3, items=MANY)[0])
    assert found["ADCE"] == pytest.approx(0.543, abs=0.004)
    assert found["unconditioned"] == pytest.approx(0.300, abs=0.003)
    assert closed_form(0.3, 0.2, 0.3)["DCE"] == 0.3


def test_unequal_edits_are_noticed() -> None:
    """C3: a subject that goes by form alone reads .30 where deep edits are larger; the sizes say so."""
    items, sizes = mixture(0.0, 0.9, 0.3, 0.3, items=2000)
    assert estimates(items)["unconditioned"] == pytest.approx(0.3, abs=0.03)
    found = edit_sizes(sizes["deep"], sizes["surface"])
    assert not found.matched
    assert found.difference == pytest.approx(0.3, abs=0.04)
    _, same = mixture(0.3, 0.9, 0.3, items=2000)
    assert edit_sizes(same["deep"], same["surface"]).matched


def test_necessity_is_not_given_where_no_edit_is_shown_to_matter() -> None:
    """TE of one item in 500: a ratio to it has no bounded limits; with every item lost, PN is 1."""
    items = mixture(0.0, 0.9, 0.3, items=500)[0].assign(
        correct=1.0, deep_lost=0.0, surface_lost=0.0
    )
    items.loc[0, "deep_lost"] = 1.0
    found = edit_effects(items, draws=300).set_index("quantity")
    assert found.loc["TE", "lo"] <= 0
    assert found.loc["PN", ["estimate", "lo", "hi"]].isna().all()
    assert found.loc["PS", "estimate"] == pytest.approx(1 / 500)
    whole = edit_effects(items.assign(deep_lost=1.0), draws=300).set_index("quantity")
    assert whole.loc["PN", ["estimate", "lo", "hi"]].tolist() == [1.0, 1.0, 1.0]


def test_without_right_answers_there_is_no_accuracy() -> None:
    rows = [
        {"item": i, "cluster": str(i), "world": world, "answer": answer, "gold": "", "status": "ok"}
        for i in range(20)
        for world, answer in (("original", "cat"), ("deep", "dog"), ("surface", "cat"))
    ]
    found = edit_effects(item_means(pd.DataFrame(rows)), draws=100).set_index("quantity")
    assert found.loc["unconditioned", "estimate"] == 1
    assert found.loc[["accuracy", "ADCE", "TE", "PN", "PS"], "estimate"].isna().all()
    assert found.loc["accuracy", "items"] == 0


def test_probabilities_stay_between_0_and_1() -> None:
    items = mixture(0.0, 0.9, 0.6, items=400)[0]
    found = edit_effects(items, draws=500).set_index("quantity")
    assert found.loc["ADCE", "lo"] < 0
    assert found.loc[["PN", "PS"], ["estimate", "lo", "hi"]].stack().between(0, 1).all()


@pytest.mark.integration
@pytest.mark.parametrize(
    "parameters", [(0.3, 0.2, 0.3), pytest.param((0.6, 0.8, 0.4), marks=pytest.mark.slow)]
)
def test_limits_cover(parameters: tuple[float, ...]) -> None:
    """C6: clusters of items of one template; 500 replicates of 300 items."""
    expected = closed_form(*parameters)
    names = ("unconditioned", "ADCE", "AICE")
    hits = dict.fromkeys(names, 0)
    for seed in range(500):
        items, _ = mixture(*parameters, items=300, seed=seed)
        found = edit_effects(items, draws=400, seed=seed).set_index("quantity")
        for name in names:
            hits[name] += found.loc[name, "lo"] <= expected[name] <= found.loc[name, "hi"]
    assert {
        name: count / 500 for name, count in hits.items() if not 0.93 <= count / 500 <= 0.975
    } == {}


def test_limits_are_of_clusters() -> None:
    items, _ = mixture(0.3, 0.9, 0.3, items=400)
    twice = pd.concat([items, items], ignore_index=True)
    one, copied = (edit_effects(x, draws=800).set_index("quantity") for x in (items, twice))
    width = one.loc["unconditioned", "hi"] - one.loc["unconditioned", "lo"]
    # a copy of every item in its own cluster says nothing new
    assert copied.loc["unconditioned", "hi"] - copied.loc["unconditioned", "lo"] == pytest.approx(
        width
    )
    assert copied["clusters"].iloc[0] == 400


def test_answers_without_a_number_are_never_changed_answers() -> None:
    rows = []
    for item, (first, deep, surface) in enumerate(
        [("a", "b", "a"), ("a", "", "a"), ("", "b", "b")]
    ):
        for world, answer in (("original", first), ("deep", deep), ("surface", surface)):
            status = "ok" if answer else "unparsable"
            rows.append(
                {
                    "item": item,
                    "cluster": item,
                    "world": world,
                    "answer": answer,
                    "gold": "a",
                    "status": status,
                }
            )
    found = item_means(pd.DataFrame(rows))
    assert found.index.tolist() == [0, 1]
    assert found.loc[0, ["deep_changed", "surface_changed"]].tolist() == [1.0, 0.0]
    assert np.isnan(found.loc[1, "deep_changed"])
    effects = edit_effects(found, draws=50).set_index("quantity")
    assert effects.loc["unconditioned", ["estimate", "items"]].tolist() == [1.0, 1]
    assert effects.loc["ADCE", "items"] == 1


def test_nothing_answered_is_an_error() -> None:
    items, _ = mixture(0.3, 0.9, 0.3, items=3)
    with pytest.raises(BadStudy, match="nothing to estimate"):
        edit_effects(items.iloc[:0])
