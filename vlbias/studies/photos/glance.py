"""At a glance for studies of photos: how much there is, in words that need no glossary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vlbias.report.blocks import Glance
from vlbias.report.claims import Claim
from vlbias.report.glance import per_object

__all__ = ["CLAIMS", "how_much"]

_GATE = "studentised permutation test of group labels; limits of B from cross-fit and plug-in"

CLAIMS = (
    Claim(
        "glance-bias-shown",
        "How often the model sees things that are not there differs between photos of the groups {groups}.",
        "equality of the false-positive rates of the groups, for every object; B divided by the number of "
        "objects",
        _GATE,
        "as bias-shown",
        "experiments/hostile_worlds.py, 'bias is shown' and 'B'",
    ),
    Claim(
        "glance-bias-not-shown",
        "Whether the model makes other mistakes with one group of photos than with another ({groups}) cannot "
        "be told from {photos} photos. That does not mean that it makes none.",
        "as glance-bias-shown",
        _GATE,
        "no finding: the upper limit says how much the data leave open",
        "experiments/hostile_worlds.py",
    ),
    Claim(
        "glance-bias-insufficient",
        "There are too few photos to say anything about the groups {groups}.",
        "none",
        "rules of support",
        "no finding",
        "tests/test_object_gaps.py",
    ),
)


def how_much(
    row: Mapping[str, Any], groups: Sequence[str], *, world: str = "null", photos: int = 0
) -> Glance:
    """The answer to "How much?" from a row with p, B_crossfit, B_lo, B_hi and n_objects.

    Args:
        row: Of the world or condition that is reported.
        groups: Names of the groups.
        world: Of which B is, if not of photos as they are.
        photos: That were reported.
    """
    shown, not_shown, insufficient = CLAIMS
    names = " and ".join(groups)
    where = "" if world == "null" else f" (in the world {world!r})"
    objects = int(row["n_objects"])
    if not objects or row["p"] != row["p"]:
        return Glance("How much?", insufficient.say(groups=names), "", "too little data")
    number = f"{per_object(row['B_crossfit'], row['B_lo'], row['B_hi'], objects)}, {objects} objects{where}"
    if row["p"] <= 0.05:
        return Glance("How much?", shown.say(groups=names), number, "shown")
    most = f"at most {100 * row['B_hi'] / objects:.1f} percentage points per object (95 % limit){where}"
    return Glance("How much?", not_shown.say(groups=names, photos=photos), most, "not shown")
