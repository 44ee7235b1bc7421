"""What the numbers of a study of bias say, in words that do not claim more than the numbers do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from vlbias.data.world import NULL

__all__ = [
    "base_in_words",
    "bias_in_words",
    "contrast_in_words",
    "contrasts_in_words",
    "floor_in_words",
    "objects_in_words",
    "placebo_in_words",
]


def bias_in_words(
    bias: pd.Series[Any], groups: Sequence[str] = ("one group", "another"), world: str = NULL
) -> str:
    """The headline: whether the disparity can be told from noise, and how large it may be.

    Args:
        bias: The row of `Disparity.frame`.
        groups: Names of the groups.
        world: Whose disparity it is; named where it is not that of photos and texts as they are.
    """
    if world != NULL:
        return f"In the world {world!r}, not on photos as they are: {bias_in_words(bias, groups)}"
    if bias["status"] != "ok":
        return "No object has enough photos in both groups: nothing can be said about bias at this size."
    between = " and ".join(groups)
    if bias["p"] > 0.05:
        verdict = (
            "Whether the model sees objects that are not there more often with one group than with another "
            f"({between}) cannot be told from noise at this size (p = {bias['p']:.2g})."
        )
    else:
        verdict = (
            "How often the model sees objects that are not there differs between the groups "
            f"({between}) by more than chance (p = {bias['p']:.2g})."
        )
    share_of_floor = bias["floor"] / bias["plugin"] if bias["plugin"] > 0 else float("nan")
    return (
        f"{verdict} B, the sum of the gaps over {bias['n_objects']} objects, is {bias['plugin']:.3f}; photos "
        f"with shuffled groups give {bias['floor']:.3f} on average ({share_of_floor:.0%} of it). B itself lies "
        f"between {bias['lo']:.3f} and {bias['hi']:.3f} (95 %); the cross-fit estimate, which noise does not "
        f"inflate, is {bias['crossfit']:.3f}."
    )


def base_in_words(world: str) -> list[str]:
    """What a page is about where no contrast starts from photos and texts as they are."""
    if world == NULL:
        return []
    return [
        f"No contrast of this study starts from {NULL!r}: B, its floor and its objects, the thresholds and the "
        f"objects with support are of the world {world!r}, and changes are changes from it. For the bias of "
        f"the model on photos as they are, add a contrast '{NULL}->{world}'."
    ]


def objects_in_words(objects: pd.DataFrame, groups: Sequence[str]) -> str:
    """Which objects' gaps survive correction over all objects, and whose photos they favour."""
    rows = objects[objects["status"] == "ok"]
    if rows.empty:
        return "No object has enough photos and false positives in every group."
    sure = rows[rows["p_max_t"] < 0.05]
    if sure.empty:
        return f"No single object's gap survives correction over the {len(rows)} objects."
    if len(groups) != 2:
        return f"Gaps that survive correction: {', '.join(sure['object'])}."
    first = sure.reindex(sure["gap"].abs().sort_values(ascending=False).index).head(5)
    said = []
    for _, row in first.iterrows():
        group, lo, hi = groups[0], row["lo"], row["hi"]
        if row["gap"] < 0:
            group, lo, hi = groups[1], -hi, -lo
        said.append(
            f"{row['object']} ({group}: {abs(row['gap']):.3f} more, [{lo:+.3f}, {hi:+.3f}])"
        )
    return f"Gaps that survive correction over {len(rows)} objects: {', '.join(said)}."


def placebo_in_words(table: pd.DataFrame) -> list[str]:
    """Where gender comes in: effects beyond their placebos, and whether image and text add up."""
    if table.empty:
        return []
    rows = table[table["functional"] == "B_lin"].set_index("effect")
    said = []
    for effect, what in (
        ("mask-gender - placebo-image", "Taking gender out of the image"),
        ("replace-gender - placebo-text", "Taking gender out of the text"),
        ("both - placebo-both", "Taking gender out of both"),
    ):
        if effect in rows.index:
            said.append(f"{what}, beyond its placebo, changes B_lin by {_sized(rows.loc[effect])}.")
    if "interaction image x text" in rows.index:
        row = rows.loc["interaction image x text"]
        how = "do not add up" if _is_told(row) else "are not shown to do otherwise than add up"
        said.append(
            f"Image and text {how}: their interaction is {_sized(row)}. B_lin is the gaps in the direction "
            "that they have without intervention."
        )
    return said


def _is_told(row: pd.Series[Any]) -> bool:
    return bool(row["lo"] > 0 or row["hi"] < 0)


def _sized(row: pd.Series[Any]) -> str:
    if pd.isna(row["lo"]):
        return "an amount that has no limits at this size"
    size = f"{row['estimate']:+.3f} [{row['lo']:+.3f}, {row['hi']:+.3f}]"
    return size if _is_told(row) else f"{size}, which cannot be told from noise at this size"


def contrast_in_words(change: pd.Series[Any]) -> str:
    """One sentence on a contrast: what it changes beyond a threshold of the same strictness.

    Args:
        change: The row "attributable" of B_crossfit of `strictness`.
    """
    lo, hi, what = change["lo"], change["hi"], change["contrast"]
    rates = f"(mean false-positive rate {change['fpr_base']:.3f}, in this world {change['fpr_world']:.3f})"
    if pd.isna(lo):
        return f"{what}: nothing can be said, no object has enough photos."
    span = f"[{lo:+.3f}, {hi:+.3f}]"
    if lo <= 0 <= hi:
        return (
            f"{what}: no change of the cross-fit disparity is shown beyond that of a threshold of the same "
            f"strictness {rates}; it lies in {span} (95 %)."
        )
    way = "falls" if hi < 0 else "rises"
    return (
        f"{what}: the cross-fit disparity {way} by {abs(change['estimate']):.3f} {span} beyond what a "
        f"threshold of the same strictness does {rates}."
    )


def contrasts_in_words(changes: pd.DataFrame) -> list[str]:
    """A sentence on each contrast with a change beyond strictness, and one on all the others.

    Args:
        changes: The rows "attributable" of B_crossfit of `strictness`.
    """
    if changes.empty:
        return []
    told = changes[(changes["lo"] > 0) | (changes["hi"] < 0)]
    others = changes.drop(told.index)
    said = [contrast_in_words(row) for _, row in told.iterrows()]
    if len(others) == 1:
        said.append(contrast_in_words(others.iloc[0]))
    elif len(others):
        each = ", ".join(
            f"{row['contrast'].partition('->')[2]} [{row['lo']:+.3f}, {row['hi']:+.3f}]"
            for _, row in others.iterrows()
        )
        said.append(
            "For these worlds no change of the cross-fit disparity is shown beyond that of a threshold of the "
            f"same strictness (95 %): {each}."
        )
    return said


def floor_in_words(conditions: pd.DataFrame) -> str:
    """Which worlds' B cannot be told from what shuffled groups give."""
    within = conditions.loc[conditions["within_floor"].astype(bool), "world"].tolist()
    if not within:
        return "In every world B is larger than 95 % of what shuffled groups give."
    return (
        "Printed sums within the floor, so not told from what shuffled groups give: "
        f"{', '.join(within)}. The column p is of a sharper test, which weighs every gap by its error."
    )
