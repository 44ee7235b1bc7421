"""What a page says of a cohort: which triples show an indirect effect, what it rests on, and what falls."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

import pandas as pd

from vlbias.data.adjustment import AdjustmentSet
from vlbias.data.graph import CausalGraph, Triple
from vlbias.report import blocks
from vlbias.report.blocks import Block, Part, Section
from vlbias.report.claims import Sentence
from vlbias.store.run_folder import Run
from vlbias.studies.cohort import claims
from vlbias.studies.cohort.figures import control_p_values, forest, triple_graph, volcano
from vlbias.studies.cohort.guidance import guidance
from vlbias.studies.cohort.meanings import MEANINGS
from vlbias.studies.cohort.numbers import KEY, LEVEL, Tables

__all__ = ["section"]

block = partial(blocks.block, meanings=MEANINGS)

_MOST_ROWS = 1000
_MOST_FOREST = 20
_SHOWN = [
    *KEY, "ACME", "ACME_lo", "ACME_hi", "ACME_p", "p_bh", "found", "TE", "TE_lo", "TE_hi", "share",
    "robustness", "robustness_limit", "effects", "n", "n_mediator", "n_outcome", "covariates",
    "positivity", "notes",
]  # fmt: skip


def section(run: Run, tables: Tables, *, with_images: bool = False) -> Section:
    """Headline, readings and blocks of one run for the page's template.

    Args:
        run: The run.
        tables: Its tables.
        with_images: Not used: a cohort has no photos.
    """
    simulated = bool(run.manifest["study"]["simulated"])
    headline, *readings = _said(tables, simulated)
    parts = [Part("Indirect effects", list(_effects(tables)))]
    parts.append(Part("What they rest on", list(_basis(run, tables))))
    if len(tables.controls):
        parts.append(Part("Negative controls", list(_controls(tables))))
    patients = f"{run.manifest['data']['patients']:,} patients"
    subject = f"a simulated cohort of {patients}" if simulated else f"a cohort of {patients}"
    return Section(headline, readings, parts, guidance(simulated), subject=subject)


def _said(tables: Tables, simulated: bool) -> Iterator[Sentence]:
    triples = tables.triples
    family, found = int(triples["p_bh"].notna().sum()), int(triples["found"].sum())
    of_cohort = (
        "Simulated cohort, of which nothing follows for any real drug: " if simulated else ""
    )
    claim = claims.FOUND if found else claims.NOTHING
    said = claim.say(of_cohort=of_cohort, found=found, family=family)
    yield Sentence(f"{said[0].upper()}{said[1:]}", said.claim, said.exploratory)
    shown = triples[triples["found"]]
    if len(shown):
        row = shown.iloc[0]
        yield claims.SMALLEST_P.say(
            triple=" → ".join(row[name] for name in KEY),
            effect=f"{row['effects']} ACME",
            estimate=f"{row['ACME']:+.4f}",
            lo=f"{row['ACME_lo']:+.4f}",
            hi=f"{row['ACME_hi']:+.4f}",
            covariates=row["covariates"].replace("; ", ", ") or "nothing",
        )
    yield claims.FALLS.say(
        unadjusted=int(tables.unadjusted["found"].sum()),
        fall=int((tables.falls["found_unadjusted"] & ~tables.falls["found"]).sum()),
        rise=int((tables.falls["found"] & ~tables.falls["found_unadjusted"]).sum()),
    )
    counts = triples["effects"].value_counts()
    if counts.get("interventional"):
        yield claims.INTERVENTIONAL.say(number=int(counts["interventional"]))
    if counts.get("unidentified"):
        yield claims.UNIDENTIFIED.say(number=int(counts["unidentified"]))
    yield from _of_controls(tables.calibration)


def _of_controls(calibration: pd.DataFrame) -> Iterator[Sentence]:
    for row in calibration[calibration["adjustment"] == "graph"].to_dict("records"):
        biased = row["p"] < LEVEL and row["share"] > LEVEL
        yield (claims.UNCALIBRATED if biased else claims.CALIBRATED).say(
            controls=row["controls"],
            below=row["below"],
            share=f"{row['share']:.1%}",
            lo=f"{row['lo']:.1%}",
            hi=f"{row['hi']:.1%}",
        )


def _effects(tables: Tables) -> Iterator[Block]:
    triples = tables.triples
    yield block(
        "All triples at a glance",
        "A point is a triple: to the right the mediator raises the outcome's risk, to the left it lowers it.",
        figure=volcano(triples),
        alt=f"{len(triples)} triples, ACME against -log10 p; {int(triples['found'].sum())} are found.",
    )
    first = triples.head(_MOST_FOREST)
    yield block(
        "Smallest p-values, adjusted and not",
        f"The {len(first)} triples with the smallest p, with 95 % limits. Where the two differ, what is "
        "adjusted for matters.",
        figure=forest(first, tables.unadjusted),
    )
    title = "Table of triples"
    more = (
        f" The {_MOST_ROWS} with the smallest p; triples.csv has all."
        if len(triples) > _MOST_ROWS
        else ""
    )
    shown = triples.reindex(columns=_SHOWN).head(_MOST_ROWS)
    yield block(
        title,
        "Type into the field to filter rows, press a column's head to sort. ACME and TE are differences of "
        "risks. Robustness is the E-value of the indirect effect, or rho where all is continuous."
        + more,
        table=shown,
    )


def _basis(run: Run, tables: Tables) -> Iterator[Block]:
    yield block(
        "Found with or without adjustment only",
        "Triples whose finding depends on the adjustment, and the covariate that accounts for most of it.",
        table=tables.falls[
            [*KEY, "ACME", "p_bh", "found", "ACME_unadjusted", "found_unadjusted", "why"]
        ],
    )
    if len(tables.triples):
        yield _drawn(tables)
    title = "Adjustment sets and reasons"
    columns = [*KEY, "effects", "reason", "why", "dropped", "n", "left_out"]
    yield block(
        title,
        "What each triple is adjusted for, and why; what is not, where one could expect it.",
        table=tables.triples[columns].head(_MOST_ROWS),
        folded=True,
    )
    yield block(
        "Not tested, and why",
        "Triples of the study that were not estimated.",
        table=tables.untestable.head(_MOST_ROWS),
        folded=True,
    )
    steps = [re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in _funnel(run)]
    yield block(
        "The data",
        "What is left after each step.",
        table=pd.DataFrame(steps, columns=["step", "left"]),
    )


def _funnel(run: Run) -> list[str]:
    return str(run.manifest["data"]["funnel"]).splitlines()


def _drawn(tables: Tables) -> Block:
    """The graph of the triple that depends most on its adjustment, else of the one with the smallest p."""
    drugs = tables.triples["mediator"]
    graph = CausalGraph(tables.edges, frozenset(drugs))
    chosen = tables.falls if len(tables.falls) else tables.triples
    row = chosen[KEY].merge(tables.triples, on=KEY).iloc[0]
    triple = Triple(*(str(row[name]) for name in KEY))
    covariates, between = (_listed(row[name]) for name in ("covariates", "intermediate"))
    used = AdjustmentSet(triple, covariates, reason=str(row["reason"]), intermediate=between)
    said = row["why"] or "nothing"
    return block(
        f"The graph of {triple}",
        "Blue: exposure, mediator, outcome; the dashed arrow is in question. Green: adjusted for. Orange: "
        f"between. Grey: other causes. Adjusted for: {said}.",
        figure=triple_graph(graph, used),
        alt=f"Causal graph of {triple}. {used.reason}. Adjusted for: {said}.",
    )


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split("; ")) if text else ()


def _controls(tables: Tables) -> Iterator[Block]:
    yield block(
        "Calibration",
        "Negative controls are outcomes that a mediator cannot cause: without bias their p-values lie on the "
        "line, and 5 % are below .05.",
        figure=control_p_values(tables.controls),
        table=tables.calibration,
    )
    yield block(
        "Every negative control",
        "Adjusted and not.",
        table=tables.controls.head(_MOST_ROWS),
        folded=True,
    )
