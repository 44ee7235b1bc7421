"""What a page says of a run with presence scores, part by part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from vlbias.report.blocks import Block, Part, Section, block
from vlbias.store.run_folder import Run
from vlbias.studies.bias import alt, figures
from vlbias.studies.bias.numbers.tables import Tables
from vlbias.studies.photos.words import (
    bias_in_words,
    contrasts_in_words,
    floor_in_words,
    objects_in_words,
    placebo_in_words,
)

__all__ = ["presence_section"]


def presence_section(run: Run, tables: Tables) -> Section:
    """Headline, readings and parts of one run for the page's template."""
    if tables.bias["status"].iloc[0] != "ok":
        return _insufficient(run, tables)
    groups = run.manifest["study"]["dataset"]["groups"]
    rows = tables.strictness
    decisive = rows[(rows["effect"] == "attributable") & (rows["functional"] == "B_crossfit")]
    readings = [
        objects_in_words(tables.objects, groups),
        *placebo_in_words(tables.placebo),
        *contrasts_in_words(decisive),
    ]
    parts = (
        Part("How large the bias is", list(_bias(tables, groups))),
        Part("What taking gender out changes", list(_changes(tables))),
        Part("Where in the model it arises", list(_where(run, tables))),
        Part("How far to trust these numbers", list(_trust(tables))),
    )
    return Section(bias_in_words(tables.bias.iloc[0], groups), readings, parts)


def _insufficient(run: Run, tables: Tables) -> Section:
    """What can be said where no object has support: how much is missing, and no effect of anything."""
    point = run.manifest["study"]["operating_point"]
    objects = _of_groups(tables.objects, run.manifest["study"]["dataset"]["groups"])
    text = (
        f"Each group needs {point['min_negatives']} photos without an object and {point['min_events']:g} "
        "false positives to expect in them. Take more photos, more splits, or fewer classes that are nearly "
        "always there; lower limits let noise in. Effects of interventions are in the tables beside the page, "
        "without support."
    )
    parts = (
        Part(
            "What is missing",
            [
                block("Objects and their support", text, table=objects, folded=True),
                block("Worlds", "Without support, no B is given.", table=tables.conditions),
            ],
        ),
        Part(
            "How far to trust these numbers",
            [block("Exactness", "What must hold by construction.", table=tables.checks)],
        ),
    )
    return Section(bias_in_words(tables.bias.iloc[0]), [], parts)


def _bias(tables: Tables, groups: Sequence[str]) -> Iterator[Block]:
    yield block(
        "B of every world beside its noise floor",
        "Bars are the sum that is usually printed; the mark across is what shuffled groups give, the dot the "
        "cross-fit estimate, the line where B itself may lie. Every world at the same thresholds: a B that "
        "merely follows the mean false-positive rate is a matter of strictness. "
        f"{floor_in_words(tables.conditions)}",
        table=tables.conditions,
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
    if (tables.objects["status"] == "ok").any():
        yield block(
            "Gap of every object",
            f"{_gap_label(groups).capitalize()}, null world, 95 % limits; the 40 largest are drawn. {lacking}",
            table=_object_columns(tables.objects, groups),
            figure=figures.objects(tables.objects, _gap_label(groups)),
            alt=alt.objects(tables.objects),
            folded=True,
        )
    else:
        yield block("Gap of every object", lacking)
    if (curve := tables.operating[tables.operating["B_crossfit"].notna()]).size:
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


def _changes(tables: Tables) -> Iterator[Block]:
    rows = tables.strictness
    drawn = len(rows) and rows["functional"].eq("B_crossfit").any()
    yield block(
        "Beyond strictness",
        "What each world changes, what the unchanged photos show when all thresholds are moved to that "
        "world's false-positive rate, and the difference: only that is attributable to the intervention. "
        "The decision is by the limits of the attributable change of the cross-fit B.",
        table=rows[rows["functional"] != "B_plugin"],
        figure=figures.changes(rows) if drawn else None,
        alt=alt.changes(rows) if drawn else "",
        folded=True,
    )
    totals = tables.effects[(tables.effects["effect"] == "TE") & (tables.effects["mediator"] == "")]
    yield block(
        "Total effects on the disparity",
        "B, plug-in: change of B itself. B, cross-fit: without the part that noise inflates. B_lin: in the "
        "direction of the null world's gaps, linear, so that it can be attributed. score_gap_lin: the same "
        "on mean scores, which have no threshold but follow the scale of the scores. They are different "
        "quantities and need not agree; all are shown. A relative effect is given where it has limits.",
        table=_effect_columns(totals),
        folded=True,
    )
    if tables.placebo.empty:
        return
    shown = tables.placebo[tables.placebo["functional"] == "B_lin"]
    yield block(
        "Image, text, and both together",
        "Effects minus the effects of their placebos, and the 2 x 2 of modalities: what the image and the text "
        "intervention do alone, what they do together, and the interaction, which is 0 where they add up.",
        table=_placebo_columns(tables.placebo),
        figure=figures.intervals(shown, shown["effect"].tolist(), "change of B_lin"),
        alt="Points with limits. "
        + "; ".join(f"{row['effect']}: {alt.with_limits(row)}" for _, row in shown.iterrows()),
    )


def _where(run: Run, tables: Tables) -> Iterator[Block]:
    several = [
        name for name, about in run.manifest["contrasts"].items() if len(about["alters"]) > 1
    ]
    yield block(
        "Through whole encoders",
        "Whole encoders are cuts: their indirect effect is that of changing their input. The table has the "
        "contrasts that alter image and text; where only one of them is altered, its encoder carries the "
        f"total effect by construction.{_on_fewer(tables.effects)}",
        table=_effect_columns(_whole(tables.effects, several)),
        figure=figures.encoders(tables.effects),
        alt=alt.encoders(tables.effects),
    )
    inside = tables.effects[tables.effects["mediator"].str.contains("/")]
    for contrast, part in inside.groupby("contrast", sort=False):
        base, _, other = str(contrast).partition("->")
        if base != other:
            yield from _components(tables.effects, str(contrast), part["mediator"])
    if len(inside):
        yield block(
            "Components with the smallest p-values",
            "Indirect effects through single components; the adjusted p is family-wise over all mediators of "
            "the contrast. They overlap, and do not add up to the total effect.",
            table=_effect_columns(_strongest(tables.effects)),
        )


def _on_fewer(effects: pd.DataFrame) -> str:
    """A sentence on the mediators that are measured on fewer photos than the total effect."""
    linear = effects[(effects["functional"] == "B_lin") & ~effects["mediator"].str.contains("/")]
    said = []
    for contrast, part in linear.groupby("contrast", sort=False):
        whole = part.loc[part["mediator"] == "", "n"].max()
        fewer = part[(part["effect"] == "NIE") & (part["n"] < whole)]
        said += [
            f"{contrast} through {row['mediator']} on {row['n']:.0f} of {whole:.0f}"
            for _, row in fewer.iterrows()
        ]
    if not said:
        return ""
    return (
        " Photos on which a mediator's values differ in length between the worlds have no effect through "
        f"it and are left out: {'; '.join(said)}."
    )


def _components(effects: pd.DataFrame, contrast: str, mediators: pd.Series[str]) -> Iterator[Block]:
    parts = figures.sites(effects, contrast, "B_lin")
    if not parts["estimate"].any():
        return  # nothing that this contrast alters passes them
    layers = figures.layered(effects, contrast)
    if len(layers):
        yield block(
            f"Effects by layer: {contrast}",
            "Indirect effect through each branch or stream, with 95 % limits; parts joined by + are replaced "
            "together. They do not add up.",
            figure=figures.by_layer(effects, contrast),
            alt=alt.components(effects, contrast, tuple(layers["port"].unique())),
        )
    if mediators.str.contains(r"/head\.\d+\[\d+\]$").any():
        yield block(
            f"Effects by layer and head: {contrast}",
            "Red raises the disparity, blue lowers it. A dot marks heads whose effect survives correction "
            "over all mediators.",
            figure=figures.heads(effects, contrast),
            alt=alt.components(effects, contrast, ("head",)),
        )


def _trust(tables: Tables) -> Iterator[Block]:
    yield block(
        "Labels, and changes that should not matter",
        "Each label rule has photos and objects of its own: compare with floor and number of objects in "
        "view. Random exchanges of labels are means over repeats. A B that moves as much under an "
        "irrelevant change as under an intervention says little about gender.",
        table=tables.sensitivity,
    )
    yield block("Exactness", "What must hold by construction.", table=tables.checks)


_EFFECT = [
    "contrast", "mediator", "effect", "functional", "estimate", "lo", "hi", "p", "p_adjusted", "relative",
    "cut", "n",
]  # fmt: skip


def _effect_columns(rows: pd.DataFrame) -> pd.DataFrame:
    shown = rows[_EFFECT].copy()
    # a share without limits, since its denominator may be 0, is no share
    bounded = np.isfinite(rows["relative_lo"]) & np.isfinite(rows["relative_hi"])
    shown["relative"] = shown["relative"].where(bounded).astype(object)
    shown.loc[shown["cut"], "relative"] = "cut"
    return shown.drop(columns="cut")


def _whole(effects: pd.DataFrame, several: Sequence[str]) -> pd.DataFrame:
    whole = (effects["mediator"] != "") & ~effects["mediator"].str.contains("/")
    return effects[
        whole
        & (effects["functional"] == "B_lin")
        & effects["effect"].isin(["NDE", "NIE", "INT"])
        & effects["contrast"].isin(several)
    ]


def _strongest(effects: pd.DataFrame, most: int = 20) -> pd.DataFrame:
    inside = effects["mediator"].str.contains("/") & (effects["effect"] == "NIE")
    # what equals the total effect by construction, as all of a world against itself, finds nothing
    rows = effects[inside & (effects["functional"] == "B_lin") & ~effects["cut"]]
    return rows.sort_values("p", kind="stable").head(most)


def _placebo_columns(rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows[rows["functional"] != "B_crossfit"]
    wanted = ["effect", "functional", "estimate", "lo", "hi", "p", "p_adjusted", "relative", "n"]
    return rows[wanted]


def _object_columns(rows: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
    shown = rows[rows["status"] == "ok"]
    shown = shown.drop(columns=["status", "z", "interval", "p_permutation"], errors="ignore")
    return _of_groups(shown, groups)


def _of_groups(rows: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
    """With the columns of groups and of their pairs in the page's words."""
    heads = {f"auc_gap_{a}_{b}": f"AUC gap, {a} − {b}" for a, b in combinations(groups, 2)}
    for group in groups:
        heads[f"n_{group}"] = f"photos without it, {group}"
        heads[f"events_{group}"] = f"false positives, {group}"
        heads[f"rate_{group}"] = f"FPR, {group}"
    return rows.rename(columns=heads)
