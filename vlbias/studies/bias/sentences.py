"""What the numbers of a study of bias say: which claims hold, with their values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from vlbias.data.world import NULL
from vlbias.report.claims import Sentence
from vlbias.report.names import WORLDS
from vlbias.report.tables import with_limits
from vlbias.studies.bias.claims import claim
from vlbias.studies.bias.numbers.families import FAMILY_LEVEL

__all__ = [
    "base_in_words",
    "bias_in_words",
    "context_in_words",
    "floor_in_words",
    "interaction_in_words",
    "objects_in_words",
    "worlds_in_words",
]


def bias_in_words(
    bias: pd.Series[Any], groups: Sequence[str] = ("one group", "another"), world: str = NULL
) -> Sentence:
    """The headline: whether the disparity can be told from noise, and how large it may be.

    Args:
        bias: The row of `Disparity.frame`.
        groups: Names of the groups.
        world: Whose disparity it is; named where it is not that of photos and texts as they are.
    """
    where = "" if world == NULL else f"In the world {world!r}, not on photos as they are: "
    if bias["status"] != "ok":
        return claim("bias-insufficient").say(where=where)
    name = "bias-shown" if bias["p"] <= 0.05 else "bias-not-shown"
    return claim(name).say(**{**bias, "where": where, "groups": " and ".join(groups)})


def base_in_words(world: str) -> list[Sentence]:
    """What a page is about where no contrast starts from photos and texts as they are."""
    return [] if world == NULL else [claim("base-world").say(world=world)]


def context_in_words(context: pd.DataFrame) -> list[Sentence]:
    """How large B is without what all objects share, and among photos that show the same objects."""
    if context.empty:
        return []
    rows = context.set_index("what")
    rest, adjusted = rows.loc["without the common offset"], ""
    if "adjusted for co-occurring objects" in rows.index:
        row = rows.loc["adjusted for co-occurring objects"]
        adjusted = (
            ", and among photos weighted so that both groups show the other objects equally often between "
            f"{row['B_lo']:.3f} and {row['B_hi']:.3f}"
        )
    return [claim("context").say(rest_lo=rest["B_lo"], rest_hi=rest["B_hi"], adjusted=adjusted)]


def objects_in_words(objects: pd.DataFrame, groups: Sequence[str]) -> Sentence:
    """Which objects' gaps survive correction over all objects, and whose photos they favour."""
    rows = objects[objects["status"] == "ok"]
    if rows.empty:
        return claim("gaps-insufficient").say()
    sure = rows[rows["p_max_t"] <= FAMILY_LEVEL]
    if sure.empty:
        return claim("gaps-not-shown").say(n=len(rows))
    if len(groups) != 2:
        return claim("gaps-shown").say(n=len(rows), which=", ".join(sure["object"]))
    first = sure.reindex(sure["gap"].abs().sort_values(ascending=False).index).head(5)
    which = ", ".join(_gap_in_words(row, groups) for _, row in first.iterrows())
    return claim("gaps-shown").say(n=len(rows), which=which)


def _gap_in_words(row: pd.Series[Any], groups: Sequence[str]) -> str:
    group, lo, hi = groups[0], row["lo"], row["hi"]
    if row["gap"] < 0:
        group, lo, hi = groups[1], -hi, -lo
    return f"{row['object']} ({group}: {abs(row['gap']):.3f} more, [{lo:+.3f}, {hi:+.3f}])"


def worlds_in_words(
    statements: pd.DataFrame, levels: pd.DataFrame, *, is_bias_shown: bool
) -> list[Sentence]:
    """What worlds change, as far as it survives correction over all statements.

    Args:
        statements: The family, see `numbers.families.statements`.
        levels: Either group's errors before and after.
        is_bias_shown: Whether the gate is open: without bias that is shown nothing more is stated.
    """
    if statements.empty:
        return []
    if not is_bias_shown:
        return [claim("gate-closed").say()]
    sure = statements["said"] != "not shown"
    said = [_stated(row) for _, row in statements[sure].iterrows()]
    quiet = statements.groupby("contrast", sort=False).filter(
        lambda part: (part["said"] == "not shown").all()
    )
    return [*said, *_not_shown(quiet, len(statements)), *_levelled(levels)]


def _what(contrast: str) -> str:
    base, _, world = contrast.partition("->")
    said = WORLDS[world].doing if world in WORLDS else f"The world {world!r}"
    return said if base == NULL else f"{said}, from {base!r}"


def _stated(row: pd.Series[Any]) -> Sentence:
    what, falls = _what(row["contrast"]), row["said"] == "reduced"
    if row["statement"] == "B":
        least, most = sorted((abs(row["lo"]), abs(row["hi"])))
        way = "falls" if falls else "rises"
        return claim("B-changed").say(what=what, way=way, least=least, most=most)
    name = row["statement"].replace(" ", "-")
    if name == "beyond-strictness":
        way, further = "smaller" if falls else "larger", _other_gaps(row) if falls else ""
        return claim(name).say(what=what, way=way, size=_size(row), further=further)
    return claim(name).say(what=what, way="lower" if falls else "higher", size=_size(row))


def _other_gaps(row: pd.Series[Any]) -> str:
    """That B is no smaller, where gaps turn round or others open."""
    change = row["B_change"]
    if not change > 0:
        return ""
    return f", while B itself is estimated to be larger by {change:.3f}: this is no remedy"


def _size(row: pd.Series[Any]) -> str:
    lo, hi = sorted((abs(row["lo"]), abs(row["hi"])))
    return f"{abs(row['estimate']):.3f} [{lo:.3f}, {hi:.3f}]"


def _not_shown(quiet: pd.DataFrame, n: int) -> Iterator[Sentence]:
    rows = quiet[quiet["statement"] == "beyond strictness"].dropna(subset=["most"])
    if rows.empty:
        return
    names = [contrast.partition("->")[2] for contrast in rows["contrast"]]
    most = ", ".join(
        f"{value:.3f} ({name})" for name, value in zip(names, rows["most"], strict=True)
    )
    yield claim("worlds-not-shown").say(n=n, which=", ".join(names), most=most)


def _levelled(levels: pd.DataFrame) -> Iterator[Sentence]:
    for _, row in levels.iterrows():
        if row["levelling_down"]:
            yield claim("levelling-down").say(
                what=_what(row["contrast"]), before=row["lower_before"], after=row["lower_after"]
            )


def interaction_in_words(modalities: pd.DataFrame) -> list[Sentence]:
    """Whether image and text add up; outside the family of the page."""
    if modalities.empty:
        return []
    rows = modalities[modalities["functional"] == "B_lin"].set_index("effect")
    row = rows.loc["interaction image x text"]
    told = row["lo"] > 0 or row["hi"] < 0
    how = "do not add up" if told else "are not shown to do otherwise than add up"
    return [claim("interaction").say(how=how, size=with_limits(row))]


def floor_in_words(conditions: pd.DataFrame) -> str:
    """Which worlds' B cannot be told from what sampling error alone gives."""
    within = conditions.loc[conditions["within_floor"].astype(bool), "world"].tolist()
    if not within:
        return "In every world B is larger than 95 % of what sampling error alone gives."
    return (
        "Printed sums within the floor, so not told from what sampling error alone gives: "
        f"{', '.join(within)}. The column p is of a sharper test, which weighs every gap by its error."
    )
