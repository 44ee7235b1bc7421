"""Blocks of a page on mediators: through which parts of the model effects run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from vlbias.report.blocks import Block, block
from vlbias.report.names import contrast_in_words
from vlbias.store.run_folder import Run
from vlbias.studies.arms.raced_units import racing_block
from vlbias.studies.arms.screened_units import screening_block
from vlbias.studies.bias import alt_text as alt
from vlbias.studies.bias import figures
from vlbias.studies.bias.numbers import Tables
from vlbias.studies.bias.page.columns import effect_columns

__all__ = ["mediator_blocks"]


def mediator_blocks(run: Run, tables: Tables) -> Iterator[Block]:
    """Where in the model effects arise: whole encoders, layers, heads, single components."""
    yield from _picture(run, tables.effects)
    several = [
        name for name, about in run.manifest["contrasts"].items() if len(about["alters"]) > 1
    ]
    whole = _whole(tables.effects, several)
    which = (
        "The table has the contrasts that alter image and text; where only one of them is altered, its encoder "
        "carries the total effect by construction."
        if len(whole)
        else "Where a contrast alters only one of image and text, its encoder carries the total effect by "
        "construction; none of this run alters both, so that there is no table."
    )
    yield block(
        "Through whole encoders",
        "Whole encoders are cuts: their indirect effect is that of changing their input. "
        f"{which}{_on_fewer(tables.effects)}",
        table=effect_columns(whole) if len(whole) else None,
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
            table=effect_columns(_strongest(tables.effects)),
        )
    if len(tables.screening):
        yield screening_block(tables.screening, "photo")
    if len(tables.racing):
        what = "the change of the score gaps, in the direction that they have on the photos that set thresholds"
        yield racing_block(run, tables.racing, what)


_PLACEBO = {
    "mask-gender": ("placebo-image",),
    "replace-gender": ("placebo-text",),
    "both": ("placebo-both", "placebo-image", "placebo-text"),
}
"""World to the placebos that stand beside it in the picture of the model."""


def _picture(run: Run, effects: pd.DataFrame) -> Iterator[Block]:
    """The picture of the model for the contrast that changes most of it."""
    whole = effects[(effects["effect"] == "NIE") & ~effects["mediator"].str.contains("/")]
    there = [c for c in whole["contrast"].unique() if c.partition("->")[0] != c.partition("->")[2]]
    if not there:
        return
    ranked = [c for c in ("null->both", "null->mask-gender", "null->replace-gender") if c in there]
    contrast = (ranked or there)[0]
    base, _, other = contrast.partition("->")
    placebos = [name for one in _PLACEBO.get(other, ()) if (name := f"{base}->{one}") in there]
    what = contrast_in_words(contrast)
    beside = (
        f" Beside it stands what a placebo does ({', or '.join(map(contrast_in_words, placebos))}); an effect "
        "that is no larger than that is none of gender."
        if placebos
        else ""
    )
    graph = run.manifest.get("stages")
    yield block(
        "The model, and what passes through each part",
        f"What changes {what}, stage by stage: each is given its values of the other world, alone. An arrow "
        f"is as wide as the effect, blue for less disparity and red for more.{beside} Effects of single stages "
        "do not add up.",
        figure=figures.stages(effects, contrast, graph, placebos),
        alt=alt.encoders(effects[effects["contrast"].isin([contrast, *placebos])]),
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
            "over all mediators. All maps of this run have one colour scale.",
            figure=figures.heads(effects, contrast, limit=figures.largest_unit(effects)),
            alt=alt.components(effects, contrast, ("head",)),
        )


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
