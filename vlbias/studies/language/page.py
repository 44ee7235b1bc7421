"""What a page says of a language model's run, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from vlbias.report import blocks
from vlbias.report.blocks import Block, Part, Section
from vlbias.report.funnel import data_part, lacking_in_words
from vlbias.report.tables import with_limits
from vlbias.store.run_folder import Run
from vlbias.studies.arms.raced_units import racing_block
from vlbias.studies.arms.screened_units import screening_block
from vlbias.studies.language import figures
from vlbias.studies.language.glance import at_a_glance
from vlbias.studies.language.guidance import GUIDANCE
from vlbias.studies.language.meanings import MEANINGS
from vlbias.studies.language.model_block import model_block
from vlbias.studies.language.numbers import Tables
from vlbias.studies.language.sentences import headline, readings

__all__ = ["compare", "section"]

block = partial(blocks.block, meanings=MEANINGS)

_SUMMARIES = ("mean", "median", "geometric", "log", "difference")


def section(run: Run, tables: Tables, *, with_images: bool = False) -> Section:
    """Headline, readings and parts of one run for the page's template.

    Args:
        run: The run.
        tables: From `vlbias.studies.language.numbers.numbers`.
        with_images: Has no meaning here; texts have no photos.
    """
    text = "What must hold by construction."
    exact = block("Exactness", text, table=tables.checks)
    return Section(
        headline=headline(run, tables),
        readings=readings(tables),
        glance=at_a_glance(run, tables),
        parts=(
            Part("Effects", list(_effect_blocks(run, tables))),
            Part("Exactness", [exact]),
            data_part(run, _lacking(run, tables)),
        ),
        guidance=GUIDANCE,
        task="text-generation",
        metrics=_metrics(tables),
    )


def _effect_blocks(run: Run, tables: Tables) -> Iterator[Block]:
    several = tables.totals["target"].nunique() > 1
    by = ["contrast", "target", "samples"] if several else ["contrast", "samples"]
    yield block(
        "Total effects",
        "Odds of the anti-stereotypical candidate, in the other world against the null world: y / y(null) "
        "- 1 in the mean, the median and the geometric mean, the mean log ratio, and the mean difference "
        "of odds. Means are ruled by few large ratios. The filtered samples were chosen by their total "
        "effect, which inflates it, also in a model without bias.",
        table=_side_by_side(tables.totals, by),
    )
    yield from model_block(tables)
    yield block(
        "Samples",
        "Aligned samples move towards the stereotype; the filter drops the least of them. Misaligned ones "
        "have worlds of different numbers of tokens: a total effect, but no mediators.",
        table=_named_first(tables.filters),
    )
    limit = _largest_head(tables.effects)
    for contrast, part in tables.effects.groupby("contrast", sort=False):
        every = part[(part["samples"] == "all") & (part["target"] == part["target"].iloc[0])]
        yield from _contrast_blocks(str(contrast), every, limit)
    yield from _joint_blocks(tables)
    if len(tables.correlation):
        text = "Over words: the score of a word's stereotype against its mean log-odds and mean log effect."
        yield block("Correlation with bias scores", text, table=_named_first(tables.correlation))
    if len(tables.screening):
        yield screening_block(_named_first(tables.screening), "text")
    if len(tables.racing):
        raced = tables.racing[tables.racing["target"] == tables.racing["target"].iloc[0]]
        what = "the mean change of the log-odds of the first candidate"
        yield racing_block(run, raced.drop(columns="target"), what)


def _named_first(table: pd.DataFrame) -> pd.DataFrame:
    """With the columns in front that say what a row is of: the first one names the rows of a table."""
    names = [name for name in ("contrast", "target") if name in table]
    return table[[*names, *table.columns.difference(names, sort=False)]]


def _lacking(run: Run, tables: Tables) -> list[str]:
    """What has no total effect, and what has no mediators, contrast by contrast."""
    counted = tables.filters[tables.filters["misaligned"] > 0]
    return lacking_in_words(run.statuses) + [
        f"{row['contrast']}: {row['misaligned']} of {row['loaded']} samples have worlds of different numbers "
        "of tokens; they have a total effect and no mediators"
        for _, row in counted.drop_duplicates("contrast").iterrows()
    ]


def _metrics(tables: Tables) -> list[Mapping[str, Any]]:
    """Total effects for a model card."""
    rows = tables.totals
    rows = rows[(rows["samples"] == "all") & (rows["effect"] == "TE") & (rows["summary"] == "log")]
    return [
        {
            "type": "total-effect-log-odds",
            "name": f"Total effect on the log-odds, {row['contrast']}, {row['target']}",
            "value": float(row["estimate"]),
            "args": {
                "lower_95": float(row["lo"]),
                "upper_95": float(row["hi"]),
                "n": int(row["n"]),
            },
        }
        for _, row in rows.iterrows()
        if pd.notna(row["estimate"])
    ]


def _side_by_side(effects: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """One row a set of samples, a column for every summary, with its limits."""
    rows = []
    for names, part in effects.groupby(list(by), sort=False):
        of = part.set_index("summary")
        row: dict[str, object] = dict(zip(by, names, strict=True))
        row |= {name: with_limits(of.loc[name]) for name in _SUMMARIES if name in of.index}
        first = of.iloc[0]
        row |= {"positive": f"{first['positive']:.0%}", "n": first["n"]}
        rows.append({**row, "clusters": first["n_clusters"]})
    return pd.DataFrame(rows)


def _largest_head(effects: pd.DataFrame) -> float:
    """The largest mean effect of a head in any contrast: the end of the colour scale of all maps."""
    rows = effects[(effects["summary"] == "mean") & (effects["effect"] == "NIE")]
    rows = rows[(rows["samples"] == "all") & rows["mediator"].str.contains(r"\.\d+\[", regex=True)]
    most = rows["estimate"].abs().max() if len(rows) else 0.0
    return float(most) if most > 0 else 1.0


def _contrast_blocks(
    contrast: str, effects: pd.DataFrame, limit: float, most: int = 20
) -> Iterator[Block]:
    means = effects[(effects["mediator"] != "") & (effects["summary"] == "mean")]
    single = means[means["effect"] == "NIE"].sort_values("estimate", ascending=False, kind="stable")
    base, _, other = contrast.partition("->")
    if single.empty or base == other:
        return
    yield block(
        f"Largest indirect effects: {contrast}",
        "Ratio minus 1. NIE and NDE in the null world, NIE* and NDE* (means) in the other; the adjusted p "
        "holds the false discovery rate of the mean NIE over all mediators.",
        table=_largest(effects, list(single["mediator"].head(most))),
    )
    yield from _site_blocks(contrast, figures.single_sites(single), limit)


def _site_blocks(contrast: str, sites: pd.DataFrame, limit: float) -> Iterator[Block]:
    """Figures of the effects through single sites: heads, layers, positions, neurons, sparsity."""
    inside = sites["unit"].notna()
    for port in ("head", "weights"):
        if (inside & (sites["port"] == port)).any():
            text = (
                "A dot marks heads that survive correction over all mediators. All maps of this run have one "
                "colour scale."
            )
            title = f"Indirect effect by head ({port}): {contrast}"
            yield block(title, text, figure=figures.effects_by_head(sites, port, limit))
    whole = sites[~inside & (sites["layer"] > figures.EMBEDDING_LAYER)]
    if len(whole):
        text = "Whole layers, with 95 % limits. They do not add up."
        yield block(f"By layer: {contrast}", text, figure=figures.effects_by_layer(sites))
    positions = whole[whole["position"] != ""].groupby("port")["position"]
    if (positions.nunique() > 1).any():
        text = "The same by position in the text."
        title = f"By layer and position: {contrast}"
        yield block(title, text, figure=figures.effects_by_position(sites))
    if (inside & sites["port"].isin(figures.NEURON_PORTS)).any():
        text = (
            "Mean over the 2.5 % of neurons with the largest effects in each layer. They are chosen by the "
            "effect that is drawn: read it beside a run with random weights."
        )
        yield block(f"Neurons by layer: {contrast}", text, figure=figures.top_neurons(sites))
    if inside.any():
        text = "Components by their own effects: how few hold how much of what is positive."
        yield block(f"Sparsity: {contrast}", text, figure=figures.sparsity(sites))


def _largest(effects: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    of = effects.set_index(["mediator", "effect", "summary"])
    rows = []
    for name in names:
        mean = of.loc[(name, "NIE", "mean")]
        row: dict[str, object] = {"mediator": name, "NIE mean": with_limits(mean)}
        for summary in ("median", "geometric"):
            if (name, "NIE", summary) in of.index:
                row[summary] = of.loc[(name, "NIE", summary), "estimate"]
        row |= {e: of.loc[(name, e, "mean"), "estimate"] for e in ("NDE", "NIE*", "NDE*")}
        row |= {key: mean[key] for key in ("p", "p_adjusted", "n")}
        rows.append({**row, "clusters": mean["n_clusters"]})
    return pd.DataFrame(rows)


def _joint_blocks(tables: Tables) -> Iterator[Block]:
    text = (
        "Effects of components do not add up. The sum of the parts is printed so that nobody takes it for the "
        "effect of all."
    )
    if tables.synergy.empty:
        text += (
            " This run has no mediator whose parts were run on their own; add 'lm/head.*' beside "
            "'lm/head.*[*]', or 'all lm/head.*', to see how far they are from it."
        )
    table = tables.synergy if len(tables.synergy) else None
    yield block("Together against the sum of the parts", text, table=table)
    if len(tables.decomposition):
        text = (
            "Means on the ratio scale. TE - NDE - NIE is the residual; what holds exactly for every sample is "
            "1 + TE = (1 + NDE)(1 + NIE*). r is a correlation over samples."
        )
        table = tables.decomposition
        yield block("Direct and indirect effects of joint mediators", text, table=table)


def compare(runs: Sequence[tuple[Run, Tables]], *, draws: int = 2000, seed: int = 0) -> list[Block]:
    """Blocks that set runs side by side, one for every data set that several models saw."""
    blocks = []
    every = pd.concat([_first_contrast(run, tables) for run, tables in runs])
    for data, part in every.groupby("data", sort=False):
        if part["model"].nunique() < 2:
            continue
        sets = part[part["samples"].isin(["all", "filtered"])]
        by = ["model", "parameters", "weights", "samples"]
        means = sets[sets["summary"] == "mean"]
        text = (
            "Total effects of the first contrast. Models with random weights are the noise floor: filtered "
            "samples show an effect in them too."
        )
        table, figure = _side_by_side(sets, by), figures.effects_by_model_size(means)
        blocks.append(block(f"Models side by side: {data}", text, table=table, figure=figure))
    return blocks


def _first_contrast(run: Run, tables: Tables) -> pd.DataFrame:
    """Total effects of a run's first contrast, with its data and its model."""
    about, totals = run.manifest, tables.totals
    first = next(iter(about["contrasts"]))
    picked = totals[(totals["contrast"] == first) & (totals["effect"] == "TE")]
    study = about["study"]
    statistic = about["data"]["meta"].get("statistic")
    has_random_weights = study.get("random_weights") is not None
    return picked[picked["target"] == picked["target"].iloc[0]].assign(
        data=study["dataset"]["name"] + (f" ({statistic})" if statistic else ""),
        model=about["model"]["name"],
        parameters=about["model"]["parameters"],
        random=has_random_weights,
        weights="random" if has_random_weights else "trained",
    )
