"""The answers at a glance of a page: runs of one model on one set of data are one story."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import get_args

from vlbias.report.blocks import Asked, Block, Glance, Section
from vlbias.store.run_folder import Run

__all__ = ["Story", "per_object", "stories"]


@dataclass(frozen=True)
class Story:
    """What is said of one model at a glance.

    Args:
        name: Of its runs, and its model.
        glances: At most one answer to each question.
    """

    name: str
    glances: Sequence[Glance]


def stories(runs: Sequence[tuple[Run, Section]], comparison: Sequence[Block] = ()) -> list[Story]:
    """Runs gathered by model and data; a later run answers what it was made to find out.

    What a comparison answers stands before them.

    A run of mitigations that stands behind the run of bias it belongs to has the last word on what helps,
    and leaves to that run how much there is.
    """
    groups: dict[Hashable, list[tuple[Run, Section]]] = {}
    for run, section in runs:
        about = run.manifest
        model, data = about.get("model", {}), about.get("data", {})
        key = (model.get("name"), model.get("revision"), data.get("content_hash"))
        groups.setdefault(key if all(key) else run.folder, []).append((run, section))
    answers = [one.answer for one in comparison if one.answer is not None]
    together = [Story("the models compared", answers)] if answers else []
    return together + [_story(members) for members in groups.values()]


def _story(members: Sequence[tuple[Run, Section]]) -> Story:
    names = " and ".join(run.manifest["study"]["name"] for run, _ in members)
    model = members[0][0].manifest.get("model", {}).get("name", "")
    found: dict[Asked, Glance] = {}
    for _, section in members:
        for one in section.glance or [_headline(section)]:
            if one.asked == "What helps?" or one.asked not in found:
                found[one.asked] = one
    answers = [found[asked] for asked in get_args(Asked) if asked in found]
    return Story(names if model in ("", names) else f"{names}: {model}", answers)


def _headline(section: Section) -> Glance:
    """A kind of study without words of its own for this says its headline."""
    said = section.headline
    return Glance("What was found?", said, "", "exploratory" if said.exploratory else "see below")


def per_object(estimate: float, lo: float, hi: float, objects: int, *, less: bool = False) -> str:
    """A sum over objects and its limits as percentage points per object, as a reader pictures them.

    Args:
        estimate: The sum of rates.
        lo: Its lower limit.
        hi: Its upper limit.
        objects: How many it is a sum of.
        less: Whether it is a reduction, told as a positive number.
    """
    if less:
        estimate, lo, hi = -estimate, -hi, -lo
    points = [100 * value / objects for value in (estimate, lo, hi)]
    word = " less" if less else ""
    return (
        f"{points[0]:.1f} percentage points{word} per object on average (95 % limits {points[1]:.1f} to "
        f"{points[2]:.1f})"
    )
