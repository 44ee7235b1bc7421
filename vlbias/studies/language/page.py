"""What a page says of a language model's run, block by block."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from vlbias.report.blocks import Block, Part, Section, block
from vlbias.store.run_folder import Run
from vlbias.report.tables import with_limits
from vlbias.studies.language import figures as drawn
from vlbias.studies.language.numbers import LanguageTables
from vlbias.studies.photos.words import lacking_in_words

__all__ = ["compared", "language_section"]

_SUMMARIES = ("mean", "median", "geometric", "log", "difference")


def language_section(run: Run, tables: LanguageTables) -> Section:
    """Headline, readings and blocks of one run for the page's template."""
    main = tables.totals[tables.totals["contrast"] == next(iter(run.manifest["contrasts"]))]
    main = main[main["target"] == main["target"].iloc[0]]
    several = tables.totals["target"].nunique() > 1
    by = ["contrast", "target", "samples"] if several else ["contrast", "samples"]
    blocks = [
        block(
            "Total effects",
            "Odds of the anti-stereotypical candidate, in the other world against the null world: y / y(null) "
            "- 1 in the mean, the median and the geometric mean, the mean log ratio, and the mean difference "
            "of odds. Means are ruled by few large ratios. The filtered samples were chosen by their total "
            "effect, which inflates it, also in a model without bias.",
            table=_side_by_side(tables.totals, by),
        ),
        block(
            "Samples",
            "Aligned samples move towards the stereotype; the filter drops the least of them. Misaligned ones "
            "have worlds of different numbers of tokens: a total effect, but no mediators.",
            table=tables.filters,
        ),
    ]
    for contrast, part in tables.effects.groupby("contrast", sort=False):
        every = part[(part["samples"] == "all") & (part["target"] == part["target"].iloc[0])]
        blocks += _of_contrast(str(contrast), every)
    blocks += _together(tables)
    if len(tables.correlation):
        text = "Over words: the score of a word's stereotype against its mean log-odds and mean log effect."
        blocks.append(block("Correlation with bias scores", text, table=tables.correlation))
    if len(tables.screening):
        blocks.append(_screened(tables.screening))
    text = "What must hold by construction."
    blocks.append(block("Exactness", text, table=tables.checks))
    parts = (Part("Effects", blocks[:-1]), Part("Exactness", blocks[-1:]))
    return Section(_headline(main), _readings(tables), parts, _lacking(run, tables))


def _lacking(run: Run, tables: LanguageTables) -> list[str]:
    """What has no total effect, and what has no mediators, contrast by contrast."""
    counted = tables.filters[tables.filters["misaligned"] > 0]
    return lacking_in_words(run.statuses) + [
        f"{row['contrast']}: {row['misaligned']} of {row['loaded']} samples have worlds of different numbers "
        "of tokens; they have a total effect and no mediators"
        for _, row in counted.drop_duplicates("contrast").iterrows()
    ]


def _headline(main: pd.DataFrame) -> str:
    rows = main[main["samples"] == "all"].set_index("summary")
    mean, median, geometric = (rows.loc[name] for name in ("mean", "median", "geometric"))
    log = rows.loc["log"]
    verdict = "cannot be told from none" if log["lo"] <= 0 <= log["hi"] else "is more than chance"
    return (
        f"{main['contrast'].iloc[0]}: total effect on the odds {with_limits(mean)} in the mean, "
        f"{median['estimate']:+.3f} in the median, {with_limits(geometric)} in the geometric mean of "
        f"{int(mean['n'])} samples; by the last it {verdict}."
    )


def _readings(tables: LanguageTables) -> list[str]:
    rows = tables.totals[(tables.totals["summary"] == "mean") & (tables.totals["effect"] == "TE")]
    return [
        f"{row['contrast']}, {row['target']}, {row['samples']} samples: mean {with_limits(row)}, "
        f"n = {row['n']}, {row['positive']:.0%} towards it."
        for _, row in rows.iterrows()
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


def _of_contrast(contrast: str, effects: pd.DataFrame, most: int = 20) -> list[Block]:
    means = effects[(effects["mediator"] != "") & (effects["summary"] == "mean")]
    single = means[means["effect"] == "NIE"].sort_values("estimate", ascending=False, kind="stable")
    base, _, other = contrast.partition("->")
    if single.empty or base == other:
        return []
    blocks = [
        block(
            f"Largest indirect effects: {contrast}",
            "Ratio minus 1. NIE and NDE in the null world, NIE* and NDE* (means) in the other; the adjusted p "
            "holds the false discovery rate of the mean NIE over all mediators.",
            table=_largest(effects, list(single["mediator"].head(most))),
        )
    ]
    parts = drawn.components(single)
    inside = parts["unit"].notna()
    for port in ("head", "weights"):
        if (inside & (parts["port"] == port)).any():
            text = "A dot marks heads that survive correction over all mediators."
            title = f"Indirect effect by head ({port}): {contrast}"
            blocks.append(block(title, text, figure=drawn.heads(parts, port)))
    whole = parts[~inside & (parts["layer"] > drawn.EMBEDDING)]
    if len(whole):
        text = "Whole layers, with 95 % limits. They do not add up."
        blocks.append(block(f"By layer: {contrast}", text, figure=drawn.layers(parts)))
    if (whole[whole["place"] != ""].groupby("port")["place"].nunique() > 1).any():
        text = "The same by place in the text."
        title = f"By layer and place: {contrast}"
        blocks.append(block(title, text, figure=drawn.places(parts)))
    if (inside & parts["port"].isin(drawn.NEURONS)).any():
        text = (
            "Mean over the 2.5 % of neurons with the largest effects in each layer. They are chosen by the "
            "effect that is drawn: read it beside a run with random weights."
        )
        title = f"Neurons by layer: {contrast}"
        blocks.append(block(title, text, figure=drawn.neurons(parts)))
    if inside.any():
        text = "Components by their own effects: how few hold how much of what is positive."
        blocks.append(block(f"Sparsity: {contrast}", text, figure=drawn.sparsity(parts)))
    return blocks


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


def _together(tables: LanguageTables) -> list[Block]:
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
    blocks = [block("Together against the sum of the parts", text, table=table)]
    if len(tables.decomposition):
        text = (
            "Means on the ratio scale. TE - NDE - NIE is the residual; what holds exactly for every sample is "
            "1 + TE = (1 + NDE)(1 + NIE*). r is a correlation over "
            "samples."
        )
        table = tables.decomposition
        blocks.append(block("Direct and indirect effects of joint mediators", text, table=table))
    return blocks


def _screened(table: pd.DataFrame) -> Block:
    text = (
        "Approximate: which mediators were run was chosen by gradient attribution, one backward pass a text. "
        "Their own effects above are exact; those that were skipped have none. The correlation between both "
        "was measured on the mediators that were run: the chosen ones, and others drawn at random from those "
        "that were not chosen, of which 'largest missed' is the largest exact effect."
    )
    return block("Screening", text, table=table)


def compared(runs: Sequence[tuple[Run, LanguageTables]]) -> list[Block]:
    """Blocks that set the runs of a page side by side, for every data set that several models saw."""
    rows = []
    for run, tables in runs:
        about = run.manifest
        first = next(iter(about["contrasts"]))
        totals = tables.totals
        picked = totals[(totals["contrast"] == first) & (totals["effect"] == "TE")]
        study = about["study"]
        statistic = about["data"]["meta"].get("statistic")
        data = study["dataset"]["name"] + (f" ({statistic})" if statistic else "")
        rows.append(
            picked[picked["target"] == picked["target"].iloc[0]].assign(
                data=data,
                model=about["model"]["name"],
                parameters=about["model"]["parameters"],
                random=study.get("random_weights") is not None,
                weights="trained" if study.get("random_weights") is None else "random",
            )
        )
    blocks = []
    every = pd.concat(rows) if rows else pd.DataFrame(columns=["data"])
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
        table, figure = _side_by_side(sets, by), drawn.size(means)
        blocks.append(block(f"Models side by side: {data}", text, table=table, figure=figure))
    return blocks
