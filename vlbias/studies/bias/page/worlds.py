"""Blocks of a page on worlds: how large the bias is, and what taking gender out changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from vlbias.data.world import NULL
from vlbias.report.blocks import Block, block
from vlbias.report.tables import with_limits
from vlbias.studies.bias import alt_text as alt
from vlbias.studies.bias import figures
from vlbias.studies.bias.numbers import Tables
from vlbias.studies.bias.page.columns import (
    effect_columns,
    modality_columns,
    nearest_columns,
    object_columns,
    world_columns,
)
from vlbias.studies.bias.sentences import floor_in_words

__all__ = ["base_world", "change_blocks", "disparity_blocks"]


def base_world(tables: Tables) -> str:
    """The world that B, thresholds and support are of; "null" unless no contrast starts there."""
    return str(tables.conditions["world"].iloc[0])


def disparity_blocks(tables: Tables, groups: Sequence[str]) -> Iterator[Block]:
    """How large the bias is: worlds, boxes, objects, operating points."""
    yield block(
        "B of every world beside its noise floor",
        "Bars are the sum that is usually printed; the mark across is what sampling error alone gives, the dot "
        "the cross-fit estimate, the line where B itself may lie. Every world at the same thresholds: a B that "
        "merely follows the mean false-positive rate is a matter of strictness. "
        f"{floor_in_words(tables.conditions)}",
        table=world_columns(tables.conditions),
        figure=figures.conditions(tables.conditions),
        alt=alt.conditions(tables.conditions),
    )
    if len(tables.boxes):
        yield block(
            "How good the found boxes are",
            "COCO's average precision of all classes but person, its 95 % limits over photos, and the gap "
            "between the groups: of all kept boxes, and of those above the operating point. Fewer photos "
            "alone give a larger AP: read a gap beside that of shuffled groups of the same sizes, and its p.",
            table=tables.boxes,
        )
    insufficient = int(tables.bias["n_insufficient"].iloc[0])
    lacking = (
        f"Insufficient objects: {insufficient}, with too few photos, or too few false positives, in one of the "
        "groups. That is not a gap of 0."
    )
    label = _gap_label(groups)
    if (tables.objects["status"] == "ok").any():
        yield block(
            "Gap of every object",
            f"{label[0].upper()}{label[1:]}, {base_world(tables)} world, 95 % limits of each object "
            f"alone; colours are after correction. The 40 largest are drawn. {lacking}",
            table=object_columns(tables.objects, groups),
            figure=figures.objects(tables.objects, label),
            alt=alt.objects(tables.objects),
            folded=True,
        )
    else:
        yield block("Gap of every object", lacking)
    yield from _nearest_blocks(tables, groups)
    yield from _shape_blocks(tables)
    yield from _operating_blocks(tables)


def _nearest_blocks(tables: Tables, groups: Sequence[str]) -> Iterator[Block]:
    """Recall by the person who stands nearest, where that is known."""
    if len(tables.nearest):
        gap = " minus ".join(groups) if len(groups) == 2 else "the largest of two groups"
        yield block(
            "Recall by the person nearest to the object",
            "How often an object that is there is found, by the group of the person whose box is nearest to "
            f"its box; the gap is {gap}. Photos of several persons count here. B is about objects that are not "
            "there: those stand near nobody, and B counts photos of one group only.",
            table=nearest_columns(tables.nearest, groups),
            folded=True,
        )


def _shape_blocks(tables: Tables) -> Iterator[Block]:
    """B in context, and whether few or many objects make it up."""
    yield block(
        "B in context",
        "B is an association of errors with groups. A prompt or a style of photos can raise all scores of one "
        "group: without the common offset, the mean gap is taken out of every gap. Photos of the groups can "
        "show different things: adjusted, photos are weighted (overlap weights) so that both groups show every "
        "other object equally often. What is left is no proof of a cause. Limits are of B of each version.",
        table=tables.context,
    )
    yield block(
        "Few large gaps or many small ones",
        "What an intervention can do depends on it: a few large gaps can be found and taken out, many small "
        "ones cannot be told apart from none one by one.",
        table=tables.shape,
        folded=True,
    )


def _operating_blocks(tables: Tables) -> Iterator[Block]:
    curve = tables.operating[tables.operating["B_crossfit"].notna()]
    if curve.empty:
        return
    yield block(
        "B over operating points",
        "Thresholds set anew in every world, so that all are equally strict, on the "
        f"{curve['photos'].max()} photos that every world has and the {curve['n_objects'].max()} objects "
        "with enough false positives at all points that are drawn: worlds can be compared with each "
        "other here, but not with the B above, which has more of both. Points at which no object has "
        "enough are left out.",
        table=tables.operating,
        figure=figures.operating(tables.operating),
        alt=alt.operating(tables.operating),
        folded=True,
    )


def _gap_label(groups: Sequence[str]) -> str:
    if len(groups) != 2:
        return "largest gap of the false-positive rate between two groups"
    return f"false-positive rate of {groups[0]} minus that of {groups[1]}"


def _unchanged(tables: Tables) -> str:
    base = base_world(tables)
    return "the unchanged photos" if base == NULL else f"the photos of the world {base!r}"


def change_blocks(tables: Tables) -> Iterator[Block]:
    """What worlds change: statements, beside equal strictness, in total, and by modality."""
    rows = tables.strictness
    drawn = len(rows) and rows["functional"].eq("B_lin").any()
    yield block(
        "What is stated on each world",
        "Three statements, kept apart: B itself changed; the gaps in their direction (B_lin) changed by more "
        "than equal strictness of every class explains; by more than under the placebo at equal strictness. "
        "Limits and p are of one statement alone; p, Holm and the word are of all of them together. 'Largest "
        "left open' is the largest change that the data do not exclude (two one-sided tests at 5 %).",
        table=tables.statements,
    )
    if len(tables.levels):
        yield block(
            "Either group's errors",
            "Mean false-positive rate of the group that has more of them, and of the one that has fewer, "
            "object by "
            "object, before and after. A gap can close because the better group gets worse: levelling down.",
            table=tables.levels,
            folded=True,
        )
    yield block(
        "Beside equal strictness",
        f"What each world changes, and what {_unchanged(tables)} show at thresholds of equal strictness: all "
        "moved by one shift to the world's mean false-positive rate, and each class's moved to the world's "
        "rate "
        "of that class. B, cross-fit and B_lin are different quantities; B_lin stands behind the statements.",
        table=rows[rows["functional"] != "B_plugin"].drop(columns=["se", "df"]),
        figure=figures.changes(rows) if drawn else None,
        alt=alt.changes(rows) if drawn else "",
        folded=True,
    )
    totals = tables.effects[(tables.effects["effect"] == "TE") & (tables.effects["mediator"] == "")]
    yield block(
        "Total effects on the disparity",
        "B, plug-in: change of B itself. B, cross-fit: without the part that noise inflates. B_lin: in the "
        f"direction of the {base_world(tables)} world's gaps, linear, so that it can be attributed. "
        "score_gap_lin: the same on mean scores, which have no threshold but follow the scale of the scores. "
        "They are different quantities and need not agree; all are shown. A relative effect is given where "
        "it has limits.",
        table=effect_columns(totals),
        folded=True,
    )
    if len(tables.modalities):
        yield _modality_block(tables.modalities)


def _modality_block(modalities: pd.DataFrame) -> Block:
    shown = modalities[modalities["functional"] == "B_lin"]
    return block(
        "Image, text, and both together",
        "Exploratory, at the thresholds of the base world. The 2 x 2 of modalities: what the image and the "
        "text intervention do alone, what they do together, and the interaction, which is 0 where they add up.",
        table=modality_columns(modalities),
        figure=figures.intervals(shown, shown["effect"].tolist(), "change of B_lin"),
        alt="Points with limits. "
        + "; ".join(f"{row['effect']}: {with_limits(row)}" for _, row in shown.iterrows()),
    )
