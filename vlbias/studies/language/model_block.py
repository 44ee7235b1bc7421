"""The picture of a language model on its page: what passes through each layer, contrast by contrast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd
from matplotlib.figure import Figure

from vlbias import plots
from vlbias.report.blocks import Block, block
from vlbias.report.names import contrast_in_words, part_in_words
from vlbias.report.tables import with_limits
from vlbias.studies.language.numbers import Tables

__all__ = ["layers_of_model", "model_block"]

_MOST = 3
_STAGE = "lm"


def model_block(tables: Tables) -> Iterator[Block]:
    """The picture of the model; nothing where no whole layer was replaced."""
    target = tables.totals["target"].iloc[0]
    every = tables.effects
    every = every[(every["samples"] == "all") & (every["target"] == target)]
    pictured = {
        contrast: rows
        for contrast in dict.fromkeys(every["contrast"])
        if len(set(contrast.split("->"))) > 1
        and len(rows := plots.layer_effects(every, contrast, stage=_STAGE))
    }
    drawn = dict(list(pictured.items())[:_MOST])
    if not drawn:
        return
    totals = [_total(tables.totals, contrast, target) for contrast in drawn]
    beside = (
        " Below it stand the other contrasts in the same scale; the effect of a change that says nothing of "
        "gender is what any change of the words does."
        if len(drawn) > 1
        else ""
    )
    text = (
        "The words go in on the left, each layer reads the stream and adds to it, the odds of the two words "
        "come out on the right. A layer is given its values of the other world, alone: the arrow into the "
        "stream is as wide as its mean effect on the odds (ratio minus 1), red for more and blue for less, and "
        f"an effect that survives correction has a thick edge. Effects of layers do not add up.{beside}"
    )
    yield block(
        "The model, and what passes through each layer",
        text,
        figure=layers_of_model(drawn, totals),
        alt=" ".join(_alt(contrast, rows) for contrast, rows in drawn.items()),
    )


def layers_of_model(drawn: dict[str, pd.DataFrame], totals: Sequence[pd.Series]) -> Figure:
    """A picture for each contrast, one above the other, in one scale.

    Args:
        drawn: Contrast to the frame of `vlbias.plots.layer_effects`.
        totals: Of each: estimate, lo, hi of the whole change.
    """
    limit = max(float(rows["estimate"].abs().max()) for rows in drawn.values()) or 1.0
    layers = max(rows["layer"].nunique() for rows in drawn.values())
    figure = Figure(figsize=(min(2.6 + 0.5 * layers, 8.8), 2.3 * len(drawn)))
    axes = figure.subplots(len(drawn), 1, squeeze=False)[:, 0]
    for axis, (contrast, rows), total in zip(axes, drawn.items(), totals, strict=True):
        plots.layer_picture(rows, axis, limit=limit, total=total, ends=("words", "odds"))
        axis.set_title(f"{contrast_in_words(contrast)} ({contrast})", fontsize=8)
    figure.tight_layout()
    return figure


def _total(totals: pd.DataFrame, contrast: str, target: str) -> pd.Series:
    rows = totals[(totals["contrast"] == contrast) & (totals["target"] == target)]
    rows = rows[(rows["samples"] == "all") & (rows["effect"] == "TE") & (rows["summary"] == "mean")]
    return rows.iloc[0][["estimate", "lo", "hi"]]


def _alt(contrast: str, rows: pd.DataFrame, most: int = 3) -> str:
    """The layers with the largest effects, and how many survive correction."""
    largest = rows.reindex(rows["estimate"].abs().sort_values(ascending=False).index).head(most)
    said = "; ".join(
        f"{part_in_words('{}/{}.{}'.format(_STAGE, row['port'], row['layer']))} {with_limits(row)}"
        for _, row in largest.iterrows()
    )
    sure = int((rows["p_adjusted"] < 0.05).sum())
    return f"{contrast}: {len(rows)} layers, {sure} survive correction. Largest: {said}."
