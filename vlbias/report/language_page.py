"""What a page says of a language model's run, block by block."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vlbias.report import figures
from vlbias.report.language import LanguageTables
from vlbias.report.tables import html
from vlbias.store import Run

__all__ = ["language_section", "layers", "sparsity"]

_COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#718096", "#b7791f")
_SHOWN = ["mediator", "effect", "estimate", "lo", "hi", "p", "p_adjusted", "n", "n_clusters"]


def language_section(run: Run, tables: LanguageTables) -> dict[str, Any]:
    """Headline, readings and blocks of one run for the page's template."""
    main = tables.totals[tables.totals["contrast"] == next(iter(run.manifest["contrasts"]))]
    blocks = [
        _block(
            "Total effects",
            "Odds of the anti-stereotypical candidate, in the other world against the null world. Means are "
            "ruled by few large ratios: read median and geometric mean beside them. The filtered samples "
            "were chosen by their total effect, which inflates it, also in a model without bias.",
            table=_totals(tables.totals),
        ),
        _block(
            "Filter by total effect",
            "Aligned samples move towards the stereotype; the least of them are dropped.",
            table=html(tables.filters),
        ),
    ]
    for contrast, part in tables.effects.groupby("contrast", sort=False):
        every = part[(part["samples"] == "all") & (part["target"] == part["target"].iloc[0])]
        blocks += _of_contrast(str(contrast), every)
    if len(tables.synergy):
        blocks.append(
            _block(
                "Together against the sum of the parts",
                "Effects of components do not add up. The sum is printed so that it is not taken for a total.",
                table=html(tables.synergy),
            )
        )
    if len(tables.correlation):
        text = "Over words: the score of a word's stereotype against its mean log-odds and mean log effect."
        blocks.append(_block("Correlation with bias scores", text, table=html(tables.correlation)))
    text = "What must hold by construction."
    blocks.append(_block("Exactness", text, table=html(tables.checks)))
    return {"headline": _headline(main), "readings": _readings(tables), "blocks": blocks}


def _block(
    title: str, text: str, *, table: str = "", figure: Figure | None = None
) -> dict[str, str]:
    svg = "" if figure is None else figures.svg(figure)
    return {"title": title, "text": text, "table": table, "svg": svg}


def _headline(main: pd.DataFrame) -> str:
    rows = main[main["samples"] == "all"].set_index("summary")
    mean, median, geometric = (rows.loc[name] for name in ("mean", "median", "geometric"))
    log = rows.loc["log"]
    verdict = "cannot be told from none" if log["lo"] <= 0 <= log["hi"] else "is more than chance"
    return (
        f"{main['contrast'].iloc[0]}: total effect on the odds {mean['estimate']:.3f} "
        f"[{mean['lo']:.3f}, {mean['hi']:.3f}] in the mean, {median['estimate']:.3f} in the median, "
        f"{geometric['estimate']:.3f} in the geometric mean of {int(mean['n'])} samples; it {verdict}."
    )


def _readings(tables: LanguageTables) -> list[str]:
    rows = tables.totals[(tables.totals["summary"] == "mean") & (tables.totals["effect"] == "TE")]
    return [
        f"{row['contrast']}, {row['samples']} samples: mean {row['estimate']:.3f} "
        f"[{row['lo']:.3f}, {row['hi']:.3f}], n = {row['n']}, {row['positive']:.0%} towards it."
        for _, row in rows.iterrows()
    ]


def _totals(totals: pd.DataFrame) -> str:
    shown = ["contrast", "target", "samples", "summary", "estimate", "lo", "hi", "n", "n_clusters"]
    return html(totals[[*shown, "positive"]])


def _of_contrast(contrast: str, effects: pd.DataFrame, most: int = 20) -> list[dict[str, str]]:
    means = effects[(effects["mediator"] != "") & (effects["summary"] == "mean")]
    if means.empty:
        return []
    single = means[means["effect"] == "NIE"].sort_values("estimate", ascending=False, kind="stable")
    order = single["mediator"].head(most)
    largest = means[means["mediator"].isin(order)].set_index("mediator").loc[order].reset_index()
    blocks = [
        _block(
            f"Largest indirect effects: {contrast}",
            "Mean ratio minus 1. NIE and NDE in the null world, NIE* and NDE* in the other; p_adjusted holds "
            "the false discovery rate over all mediators.",
            table=html(largest[_SHOWN]),
        )
    ]
    drawn = single.assign(functional="mean", contrast=contrast)
    parts = figures.sites(drawn, contrast, "mean")
    for port in ("head", "weights"):
        if len(parts[(parts["port"] == port) & parts["unit"].notna()]):
            figure = figures.heads(drawn, contrast, "mean", port)
            text = "A dot marks heads that survive correction over all mediators."
            blocks.append(
                _block(f"Indirect effect by head ({port}): {contrast}", text, figure=figure)
            )
    if parts["unit"].isna().any():
        text = "Whole layers, with 95 % limits. They do not add up."
        blocks.append(_block(f"By layer: {contrast}", text, figure=layers(parts)))
    if parts["unit"].notna().any():
        text = "Components by their own effects: how few hold how much of what is positive."
        blocks.append(_block(f"Sparsity: {contrast}", text, figure=sparsity(parts)))
    return blocks


def layers(parts: pd.DataFrame) -> Figure:
    """Indirect effect through whole layers, a line for each port, with limits."""
    figure = Figure(figsize=(6.4, 3.0))
    axis = figure.subplots()
    whole = parts[parts["unit"].isna()]
    for colour, (port, rows) in zip(_COLOURS, whole.groupby("port", sort=False), strict=False):
        rows = rows.sort_values("layer")
        error = [
            (rows["estimate"] - rows["lo"]).clip(lower=0),
            (rows["hi"] - rows["estimate"]).clip(lower=0),
        ]
        axis.errorbar(
            rows["layer"],
            rows["estimate"],
            yerr=error,
            fmt="o-",
            ms=3,
            lw=1,
            color=colour,
            label=port,
        )
    _dressed(axis, "layer", "NIE, mean ratio minus 1")
    return figure


def sparsity(parts: pd.DataFrame) -> Figure:
    """Share of all positive single effects that the first k components hold, a line for each port."""
    figure = Figure(figsize=(6.4, 3.0))
    axis = figure.subplots()
    single = parts[parts["unit"].notna()]
    for colour, (port, rows) in zip(_COLOURS, single.groupby("port", sort=False), strict=False):
        positive = rows["estimate"].clip(lower=0).sort_values(ascending=False).to_numpy()
        if positive.sum() > 0:
            count = range(1, len(positive) + 1)
            share = positive.cumsum() / positive.sum()
            axis.plot(count, share, color=colour, lw=1.2, label=f"{port} ({len(positive)})")
    axis.set_xscale("log")
    _dressed(axis, "components", "share of positive effects", whole=False)
    return figure


def _dressed(axis: Any, across: str, up: str, *, whole: bool = True) -> None:
    axis.set_xlabel(across)
    axis.set_ylabel(up)
    if whole:
        axis.axhline(0, color=_COLOURS[4], lw=0.8)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.spines[["top", "right"]].set_visible(False)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize=8)
    axis.figure.tight_layout()
