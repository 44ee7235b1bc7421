"""What a page says of a run of editing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pandas as pd

from vlbias.report import blocks
from vlbias.report.blocks import Block, Glance, Guidance, Part, Section, Verdict
from vlbias.report.claims import Sentence
from vlbias.store.run_folder import Run
from vlbias.studies.editing import figures
from vlbias.studies.editing.claims import CLAIMS
from vlbias.studies.editing.meanings import MEANINGS
from vlbias.studies.editing.numbers import Tables

__all__ = ["section"]

_CLAIMS = {claim.name: claim for claim in CLAIMS}
block = partial(blocks.block, meanings=MEANINGS)
_SHOWN = 60

GUIDANCE = Guidance(
    limits=(
        "One order of one draw of facts. The test between methods is over the facts that were asked, not over "
        "orders.",
        "The score is a harmonic mean: one share near 0 decides it. Read the shares.",
        "With roll-back, an edit with one key and an exact value is undone exactly; what drifts is what the "
        "search leaves and what mixed keys add.",
        "A rule that wins here need not win in another model; in small nets a good fixed layer does as well.",
    ),
    wording=(
        (
            "after 64 edits, 0.31 of unedited facts are lost with rule A and 0.02 with rule B",
            "rule B solves lifelong editing",
            "One number of edits, one model.",
        ),
    ),
    glossary=(
        ("ES, GS, LS", "Edit success, generalisation to paraphrases, locality: right after each edit."),
        ("ERS, ORS", "Edited and other facts that are as they should be, at a checkpoint."),
        ("S", "The harmonic mean of these five; shares of 0 count as 0.0001."),
        ("cost", "Norm of the change over that of the weight it changes."),
        ("flash", "An edit that costs more than ten times the median of those before it."),
        ("mixed keys", "The direction from the mean key over prefixes, the division by the key without one: "
         "the published code of ROME."),
        ("one key", "The mean key in both places (r-ROME)."),
    ),
)  # fmt: skip


def section(run: Run, tables: Tables, *, with_images: bool = False) -> Section:
    """Headline, readings and blocks of one run for the page's template.

    Args:
        run: The run.
        tables: Its tables.
        with_images: Not used: the study has no photos.
    """
    first, *others = _sentences(run, tables)
    verdicts: dict[str, Verdict] = {
        "editing-keeps-more": "shown",
        "editing-no-difference": "not shown",
    }
    verdict = verdicts.get(first.claim, "exploratory")
    return Section(
        first,
        others,
        [
            Part("What is left", list(_left_blocks(tables))),
            Part("What edits cost", list(_cost_blocks(tables))),
        ],
        GUIDANCE,
        glance=[Glance("What helps?", first, "", verdict)],
        task="text-generation",
    )


def _sentences(run: Run, tables: Tables) -> Iterator[Sentence]:
    edits = run.manifest["study"]["edits"]
    if len(tables.differences):
        shown = tables.differences[tables.differences["p_holm"] < 0.05]
        for _, row in shown.sort_values("p_holm").iterrows():
            values = row.to_dict()
            if row["first_only"] < row["second_only"]:
                turned = ("first", "second"), ("first_only", "second_only")
                for one, other in turned:
                    values[one], values[other] = values[other], values[one]
            yield _CLAIMS["editing-keeps-more"].say(edits=edits, **values)
        if shown.empty:
            yield _CLAIMS["editing-no-difference"].say(edits=edits)
    for _, row in tables.methods.iterrows():
        asked = "not asked" if pd.isna(row["utility"]) else f"{row['utility']:.0%}"
        yield _CLAIMS["editing-score"].say(**{**row.to_dict(), "utility": asked})
    for _, row in tables.methods[tables.methods["flashes"] > 0].iterrows():
        yield _CLAIMS["editing-flash"].say(**row.to_dict())


def _left_blocks(tables: Tables) -> Iterator[Block]:
    yield block(
        "Methods at the last checkpoint",
        "Everything is compared with what the model said before the first edit.",
        table=tables.methods,
    )
    yield block(
        "Along the edits",
        "Score, utility and drift at checkpoints.",
        figure=figures.score_curves(tables.checkpoints),
        table=tables.checkpoints,
        folded=True,
    )
    if len(tables.differences):
        yield block(
            "Unedited facts, method against method",
            "Facts that one keeps and the other lost at the last checkpoint; exact McNemar tests, corrected by "
            "Holm over all pairs.",
            table=tables.differences,
        )
    yield block(
        "Drift, site by site",
        "Norm of all changes together over that of the weight.",
        table=tables.drift.tail(_SHOWN),
        folded=True,
    )


def _cost_blocks(tables: Tables) -> Iterator[Block]:
    yield block(
        "Cost of each edit",
        "Flashes are ringed.",
        figure=figures.cost_curves(tables.edits),
        table=tables.edits.head(_SHOWN),
        folded=True,
    )
    if tables.edits["predicted_shift"].notna().any():
        yield block(
            "Interference, predicted and measured",
            "Mean shift of the changed map's output at the subjects of unedited facts, over its norm. The line "
            "is where both are equal.",
            figure=figures.shift_points(tables.edits),
        )
