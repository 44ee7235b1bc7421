"""What a page says of a run of unlearning."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pandas as pd

from vlbias.report import blocks
from vlbias.report.blocks import Block, Glance, Guidance, Part, Section, Verdict
from vlbias.report.claims import Sentence
from vlbias.store.run_folder import Run
from vlbias.studies.unlearning import figures
from vlbias.studies.unlearning.claims import CLAIMS
from vlbias.studies.unlearning.meanings import MEANINGS
from vlbias.studies.unlearning.numbers import Tables
from vlbias.studies.unlearning.published import DIFFERS, beside_published

__all__ = ["section"]

_CLAIMS = {claim.name: claim for claim in CLAIMS}
block = partial(blocks.block, meanings=MEANINGS)

GUIDANCE = Guidance(
    limits=(
        "The score of the task can be satisfied without becoming the model that never saw the facts: read the "
        "divergence, the membership on both sides of 0.5, and what is relearned.",
        "A membership AUC far below 0.5 is a leak too: the facts are avoided.",
        "Where a fact is traced and where it is best forgotten are different questions (Hase et al. 2023).",
    ),
    wording=(
        (
            "the answers are no longer given",
            "the facts are gone from the model",
            "Training on half of them may bring the others back.",
        ),
    ),
    glossary=(
        ("matched forgetting", "Training stops at one level of forgetting for all methods."),
        ("gold", "A model that was trained without the facts to forget."),
        ("hinge", "Ascent that ends where a fact is as unlikely as one that was never learned."),
        ("relearned", "Known again of half of the forgotten subjects, after training on the other half."),
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
        "unlearning-keeps-more": "shown",
        "unlearning-no-difference": "not shown",
    }
    verdict = verdicts.get(first.claim, "too little data")
    return Section(
        first,
        others,
        [Part("What is forgotten and what is kept", list(_blocks(tables)))],
        GUIDANCE,
        glance=[Glance("What helps?", first, "", verdict)],
        task="text-generation",
    )


def _sentences(run: Run, tables: Tables) -> Iterator[Sentence]:
    level = run.manifest["study"]["level"]
    shown = tables.differences[tables.differences["p_holm"] < 0.05]
    for _, row in shown.sort_values("p_holm").iterrows():
        values = row.to_dict()
        if row["first_only"] < row["second_only"]:
            for one, other in (("first", "second"), ("first_only", "second_only")):
                values[one], values[other] = values[other], values[one]
        yield _CLAIMS["unlearning-keeps-more"].say(level=level, **values)
    if shown.empty:
        none = "unlearning-not-matched" if tables.differences.empty else "unlearning-no-difference"
        yield _CLAIMS[none].say()
    for _, row in tables.methods.iterrows():
        said = {
            "relearned": _or_not(row["relearned"], ".0%"),
            "membership": _or_not(row["membership_auc"], ".2f"),
            "divergence": _or_not(row["divergence"], ".2f"),
        }
        yield _CLAIMS["unlearning-score"].say(**{**row.to_dict(), **said})


def _or_not(value: float, form: str) -> str:
    return "not measured" if pd.isna(value) else format(value, form)


def _blocks(tables: Tables) -> Iterator[Block]:
    yield block(
        "Conditions",
        "Means over seeds. Training stops at the study's level of forgetting where it is reached.",
        table=tables.methods,
    )
    yield block(
        "Trade-off",
        "Each point is one training. Right is more still known; above is more kept, and on the last panel more "
        "that comes back.",
        figure=figures.trade_off(tables.conditions),
        table=tables.conditions,
        folded=True,
    )
    if len(tables.differences):
        yield block(
            "Facts to retain, method against method",
            "Facts that one keeps and the other lost, of methods that reached the level; exact McNemar tests, "
            "corrected by Holm.",
            table=tables.differences,
        )
    yield block(
        "Beside the published numbers",
        DIFFERS,
        table=beside_published(tables.methods),
        folded=True,
    )
    if len(tables.blocks):
        yield block(
            "Which block carries the forgetting",
            "Facts to forget that are known again with one of the trained blocks as it was before.",
            table=tables.blocks,
            folded=True,
        )
