"""What a page says of a run of causal tracing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pandas as pd

from vlbias.report import blocks
from vlbias.report.blocks import Block, Glance, Guidance, Part, Section, Verdict
from vlbias.report.claims import Sentence
from vlbias.store.run_folder import Run
from vlbias.studies.knowledge.map_figures import NAMES
from vlbias.studies.knowledge.token_roles import ROLES
from vlbias.studies.tracing import figures
from vlbias.studies.tracing.claims import CLAIMS
from vlbias.studies.tracing.meanings import MEANINGS
from vlbias.studies.tracing.numbers import Tables

__all__ = ["section"]

_CLAIMS = {claim.name: claim for claim in CLAIMS}
block = partial(blocks.block, meanings=MEANINGS)
_SHOWN = 40

GUIDANCE = Guidance(
    limits=(
        "A map of facts alone shows where anything that the answer needs passes, recognition of the subject "
        "and form of the answer included. What is particular to some facts is in the contrast of two groups.",
        "That restoring a part gives the answer back does not say that the fact is stored there, nor that it "
        "is best changed or forgotten there (Hase et al. 2023).",
        "Tokens before the subject are left out: they are the same in all worlds, so that nothing can be "
        "restored there.",
        "Only facts whose whole answer the model says are traced. A model that knows few is shown at its best.",
    ),
    wording=(
        (
            "restoring the MLP of layer 5 at the last token of the subject gives back 40 % of the effect",
            "the fact is stored in the MLP of layer 5",
            "An effect of restoring is no place of storage; the weights were not changed.",
        ),
    ),
    glossary=(
        ("clean", "The prompt as it is."),
        ("corrupted", "The prompt with noise on the subject's embeddings, or with another subject."),
        ("restored", "The corrupted prompt with one part of the clean run put back at some tokens."),
        ("total effect", "Probability of the answer in the clean run less that in the corrupted one."),
        ("share", "What restoring gives back over the total effect of the same facts."),
        *((role.replace("_", " "), f"{text[0].upper()}{text[1:]}.") for role, text in ROLES.items()),
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
    parts = [Part("The facts", list(_fact_blocks(run, tables)))]
    if len(tables.effects):
        parts.append(Part("Where", list(_map_blocks(run, tables))))
    return Section(first, others, parts, GUIDANCE, glance=[_glance(first)], task="text-generation")


def _glance(first: Sentence) -> Glance:
    verdicts: dict[str, Verdict] = {
        "tracing-contrast": "shown",
        "tracing-no-contrast": "not shown",
        "tracing-none-known": "too little data",
    }
    return Glance("Where?", first, "", verdicts.get(first.claim, "exploratory"))


def _sentences(run: Run, tables: Tables) -> Iterator[Sentence]:
    model, compared = run.manifest["model"]["name"], run.manifest["study"]["compare"]
    if compared and (tables.totals["traced"] > 0).all():
        yield _contrasted(model, compared, tables.contrast)
    for _, row in tables.totals.iterrows():
        if not row["traced"]:
            yield _CLAIMS["tracing-none-known"].say(
                model=model, facts=row["facts"], group=row["group"]
            )
            continue
        branches = tables.effects[
            (tables.effects["group"] == row["group"]) & (tables.effects["part"] != "resid")
        ]
        if len(branches):
            most = branches.loc[branches["share"].idxmax()]
            yield _CLAIMS["tracing-largest"].say(**_worded(most))
    for _, row in tables.totals[tables.totals["traced"] > 0].iterrows():
        named = {"lo": row["total_lo"], "hi": row["total_hi"]}
        yield _CLAIMS["tracing-total"].say(model=model, **row.to_dict(), **named)


def _contrasted(model: str, compared: list[str], contrast: pd.DataFrame) -> Sentence:
    first, second = compared
    shown = contrast[(contrast["lo"] > 0) & (contrast["part"] != "resid")]
    if shown.empty:
        return _CLAIMS["tracing-no-contrast"].say(model=model, first=first, second=second)
    most = shown.loc[shown["difference"].idxmax()]
    return _CLAIMS["tracing-contrast"].say(**{**_worded(most), "first": first, "second": second})


def _worded(row: pd.Series) -> dict[str, object]:
    values: dict[str, object] = dict(row.to_dict())
    role = str(row["role"])
    values["part"], values["role"] = NAMES[str(row["part"])], ROLES[role].split(",")[0]
    return values


def _fact_blocks(run: Run, tables: Tables) -> Iterator[Block]:
    study = run.manifest["study"]
    how = (
        f"normal noise on the subject's embeddings, sd {run.manifest['noise_sd']:.3g}, {study['noise']:g} "
        "times that of the embeddings of all subjects"
        if study["corruption"] == "noised"
        else "another subject of as many tokens"
    )
    yield block(
        "Facts and the total effect",
        f"Corrupted by {how}, {study['draws']} draws a fact. Limits are of a bootstrap over subjects.",
        table=tables.totals,
    )
    yield block(
        "Fact by fact",
        "Probability of the whole answer. Facts that the model does not know are not traced.",
        table=tables.facts,
        folded=True,
    )


def _map_blocks(run: Run, tables: Tables) -> Iterator[Block]:
    window = run.manifest["study"]["window"]
    around = (
        "one layer at a time"
        if window == 1
        else f"branches in windows of {window} layers around the one named, which blurs the map as much"
    )
    yield block(
        "Map",
        f"Share of the total effect that restoring gives back, {around}.",
        figure=figures.effect_maps(tables.effects),
    )
    if len(tables.contrast):
        yield block(
            "Contrast",
            "Share in the first group less that in the second. Framed: the limits for all sites together "
            "exclude 0.",
            figure=figures.contrast_maps(tables.contrast),
            table=tables.contrast.sort_values("difference", ascending=False).head(_SHOWN),
        )
    yield block(
        "Largest effects",
        f"The {_SHOWN} largest shares, with limits of each alone. All are in the CSV file.",
        table=tables.effects.sort_values("share", ascending=False).head(_SHOWN),
        folded=True,
    )
