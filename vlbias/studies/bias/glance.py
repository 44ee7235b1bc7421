"""At a glance for a study of bias: how much, through which part of the model, and what makes it less."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from vlbias.report.blocks import Glance
from vlbias.report.glance import per_object
from vlbias.report.names import part_in_words, world_in_words
from vlbias.store.run_folder import Run
from vlbias.studies.bias.claims import claim
from vlbias.studies.bias.numbers import Tables
from vlbias.studies.photos.glance import how_much

__all__ = ["at_a_glance"]

_LEVEL = 0.05


def at_a_glance(run: Run, tables: Tables) -> list[Glance]:
    """At most three answers; where the first is not "shown", it stands alone."""
    row = tables.conditions.iloc[0]
    groups = run.manifest["study"]["dataset"]["groups"]
    first = how_much(row, groups, world=str(row["world"]), photos=int(row["photos"]))
    if first.verdict != "shown":
        return [first]
    return [first, *_where(tables.effects), *_what_helps(run, tables, int(row["n_objects"]))]


def _where(effects: pd.DataFrame) -> Iterator[Glance]:
    """The encoders that carry what the contrast with the largest total effect changes."""
    rows = effects[(effects["functional"] == "B_lin") & ~effects["mediator"].str.contains("/")]
    parts = rows[(rows["effect"] == "NIE") & (rows["mediator"] != "")]
    # through a cut all passes by construction, which is no finding
    tested = parts[~parts["cut"].astype(bool) & parts["p_adjusted"].notna()]
    if tested.empty:
        return
    fitting = tested["contrast"] == "null->both"
    contrast = "null->both" if fitting.any() else str(tested["contrast"].iloc[0])
    here = tested[(tested["contrast"] == contrast) & (tested["estimate"] < 0)]
    sure = here[here["p_adjusted"] <= _LEVEL].sort_values("estimate")
    if sure.empty:
        yield Glance("Where?", claim("glance-where-not-shown").say(), "", "not shown")
        return
    row = sure.iloc[0]
    said = claim("glance-where").say(
        part=part_in_words(row["mediator"]), done=world_in_words(contrast.partition("->")[2])
    )
    whole = rows[
        (rows["effect"] == "TE") & (rows["mediator"] == "") & (rows["contrast"] == contrast)
    ]
    objects = int(row["n_objects"])
    total = -100 * float(whole["estimate"].iloc[0]) / objects if len(whole) else float("nan")
    part, least, most = (-100 * row[name] / objects for name in ("estimate", "hi", "lo"))
    number = (
        f"{part:.1f} (95 % limits {least:.1f} to {most:.1f}) of the {total:.1f} percentage points per "
        "object by which the differences shrink then"
    )
    yield Glance("Where?", said, number, "exploratory")


def _what_helps(run: Run, tables: Tables, objects: int) -> Iterator[Glance]:
    """The world that shrinks the differences most beyond equal strictness, and does not make B larger.

    Placebos and changes that should not matter are no remedies.
    """
    statements, worlds = tables.statements, tables.conditions.set_index("world")["B_crossfit"]
    larger = set(worlds.index[worlds > worlds.iloc[0]])
    rows = statements[statements["statement"] == "beyond strictness"]
    irrelevant = run.manifest["study"].get("unmediated", ())
    rows = rows[~rows["contrast"].str.contains("placebo") & ~rows["contrast"].isin(irrelevant)]
    if rows.empty or not objects:
        return
    worse = rows["contrast"].str.partition("->")[2].isin(larger)
    sure = rows[(rows["said"] == "reduced") & ~worse].sort_values("estimate")
    if sure.empty:
        names = [world_in_words(c.partition("->")[2]) for c in rows["contrast"]]
        said = claim("glance-worlds-not-shown").say(which="; ".join(names))
        yield Glance("What helps?", said, "", "not shown")
        return
    row = sure.iloc[0]
    said = claim("glance-world").say(done=world_in_words(row["contrast"].partition("->")[2]))
    yield Glance("What helps?", said, _less(row, objects), "shown")


def _less(row: pd.Series[Any], objects: int) -> str:
    return per_object(row["estimate"], row["lo"], row["hi"], objects, less=True)
