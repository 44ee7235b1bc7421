"""What the numbers say, in words that do not claim more than the numbers do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

__all__ = [
    "GIVEN_LIMIT",
    "LIMITS",
    "PERCEIVED_LIMIT",
    "TEXT_LIMITS",
    "bias_in_words",
    "contrast_in_words",
    "contrasts_in_words",
    "floor_in_words",
    "lacking_in_words",
    "objects_in_words",
    "placebo_in_words",
]

PERCEIVED_LIMIT = (
    "Groups are perceived gender: the word choices of captioners, binary where they are. They say "
    "nothing about anyone's identity, and captioners read gender from context too."
)

GIVEN_LIMIT = (
    "Groups are those that came with the data; no captions were read for them. What they mean, and who "
    "said so, the data must tell."
)

LIMITS = (
    "Masking a person changes more than gender: pose, edges, worn and held objects. Read an effect "
    "beside the effect of its placebo, and photos without a placebo region are not in that comparison.",
    "A mediator that cuts its encoder (the whole encoder, a residual stream) carries the total effect "
    "by construction. It is marked 'cut', and no share is given.",
    "Direct and indirect effects need not add up: TE = NDE + NIE + INT, and the sum of absolute gaps "
    "creates interaction of its own when a gap changes sign.",
    "B sums absolute values, so its plug-in is never 0: read it only beside its noise floor. Objects "
    "without enough photos in both groups are 'insufficient', which is not 0.",
)

TEXT_LIMITS = (
    "Gender here is a matter of words: pronouns, and stereotype scores or labour statistics of English "
    "occupations. Most sets ask for two pronouns only. Nothing is said about any person.",
    "Only what the prompts ask is measured: a few hand-written frames, and one word or one clause behind "
    "them. Another frame can give another effect; compare templates before wording a result.",
    "The effect is a mean of ratios of odds, ruled by few large ones. Read median and geometric mean "
    "beside it. Filtered samples were chosen by their total effect: read them beside all samples and "
    "beside random weights, which show a filtered effect too.",
    "'man' or 'woman' in the place of a profession changes more than gender: frequency, age, and that it is "
    "no profession. Read set-gender beside the contrast with 'person'.",
    "Effects of components overlap and back each other up: a sum of single effects is not the effect of "
    "the components together, and TE is not NDE + NIE. Only the joint effect says what a set does.",
    "Attention weights as mediators leave out what values and MLPs carry. A mediator that cuts the model (the "
    "residual stream, the embedding of all that differs) carries the total effect by construction.",
    "Samples whose worlds have different numbers of tokens have a total effect but no mediators, unless "
    "the study says how to align them; the mediators' numbers are those of the others.",
)


def bias_in_words(bias: pd.Series[Any], groups: Sequence[str] = ("one group", "another")) -> str:
    """The headline: whether the disparity can be told from noise, and how large it may be.

    Args:
        bias: The row of `Disparity.frame`.
        groups: Names of the groups.
    """
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


def lacking_in_words(rows: pd.DataFrame) -> list[str]:
    """What was left out of the table, and why."""
    skipped = rows[(rows["status"] != "ok") & (rows["mediator"] == "")]
    counts = skipped.groupby(["contrast", "status"], observed=True)["count_all"].sum()
    return [f"{contrast}: {status} ({n} rows)" for (contrast, status), n in counts.items()]
