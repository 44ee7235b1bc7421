"""What a page says of a model on the identity-rule task: no more than its tests show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from vlbias.report import blocks
from vlbias.report.blocks import Block, Glance, Guidance, Part, Section
from vlbias.report.claims import Sentence
from vlbias.store.run_folder import Run
from vlbias.studies.symbolic import figures
from vlbias.studies.symbolic.claims import CLAIMS
from vlbias.studies.symbolic.meanings import MEANINGS
from vlbias.studies.symbolic.numbers import Tables

__all__ = ["compare", "section"]

_CLAIMS = {claim.name: claim for claim in CLAIMS}
block = partial(blocks.block, meanings=MEANINGS)
_SHOWN = 20

GUIDANCE = Guidance(
    limits=(
        "Scores are of pairs that the model solves, both prompts of each. A model that solves few of them is "
        "shown at its best.",
        "The tests look at some tokens only: third items and the last token. A model can solve the task with "
        "no head of any type (a small net here does), by tokens that the map shows.",
        "The task is two rules of position. That a head carries the rule across tokens does not make it a "
        "symbol in any wider sense.",
        "Order and limits are given the heads found in these pairs; other pairs may find others.",
    ),
    wording=(
        (
            "8 heads carry the rule from third items, beyond what any head shows by chance",
            "the model has symbol abstraction heads; the model reasons symbolically",
            "What is shown is an effect on a logit difference in one task.",
        ),
        (
            "no head was found at these tokens",
            "the model does not use the rule",
            "Accuracy shows that it does; the test is confined to tokens.",
        ),
    ),
    glossary=(
        ("abstract pair", "Two prompts of the same third items and the same answer, but not the same rule."),
        ("token pair", "Two prompts of one rule whose queries are swapped, and so their answers."),
        ("score", "How far a difference of two logits moves when a head's output is the other prompt's."),
        ("logit gap", "The same difference in the prompt itself: the most that a score of full size would undo "
         "is twice the gap."),
        ("A1, B1, C1; Aq, Bq", "Items of the first example, and of the query."),
        ("abstraction", "At third items of examples, in abstract pairs."),
        ("induction", "At the last token, in abstract pairs."),
        ("retrieval", "At the last token, in token pairs."),
        ("found", "Significant by sign flips over all heads, and above the floor."),
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
    return Section(
        first,
        others,
        [
            Part("The task", list(_task_blocks(tables))),
            Part("Heads", list(_head_blocks(tables))),
            Part("Is it the rule?", list(_probe_blocks(tables))),
        ],
        GUIDANCE,
        glance=_glance(first, others, tables),
        task="text-generation",
    )


def _glance(first: Sentence, others: Sequence[Sentence], tables: Tables) -> list[Glance]:
    """Which heads are found, and whether their layers stand in order."""
    order = next(said for said in others if said.claim.startswith("symbolic-layers"))
    found = tables.types["found"]
    shown = order.claim == "symbolic-layers-in-order"
    return [
        Glance("What was found?", first, "", "shown" if found.any() else "not shown"),
        Glance("Where?", order, "", "shown" if shown else "not shown"),
    ]


def compare(runs: Sequence[tuple[Any, Any]], *, draws: int = 2000, seed: int = 0) -> list[Block]:
    """Several runs side by side: accuracy, heads found, and their layers."""
    if len(runs) < 2:
        return []
    rows = []
    for run, tables in runs:
        study = run.manifest["study"]
        row = {
            "run": run.folder.name,
            "model": run.manifest["model"]["name"],
            "items": study["items"],
        }
        row |= {"shots": study["shots"], "lures": study["lures"]}
        for _, kind in tables.types.iterrows():
            row[f"{kind['type']} heads"] = kind["found"]
            row[f"{kind['type']} layer"] = kind["layer"]
        rows.append(row)
    text = "Heads found and their score-weighted layers, one row a run."
    return [block("Symbolic mechanisms side by side", text, table=pd.DataFrame(rows))]


def _sentences(run: Run, tables: Tables) -> Iterator[Sentence]:
    study, model = run.manifest["study"], run.manifest["model"]["name"]
    types = tables.types.set_index("type")
    found = types["found"]
    yield _CLAIMS["symbolic-heads-found"].say(
        model=model, heads=int(types["heads"].iloc[0]), floor=study["floor"], **found.to_dict()
    )
    if study["random_weights"] is not None:
        yield _CLAIMS["symbolic-random-weights"].say(model=model)
    missing = [str(name) for name, count in found.items() if not count]
    if missing:
        yield _CLAIMS["symbolic-no-head-found"].say(model=model, types=" and ".join(missing))
    yield _order(tables)
    below = tables.heads["significant"] & ~tables.heads["above_floor"]
    if below.any():
        yield _CLAIMS["symbolic-below-floor"].say(count=int(below.sum()), floor=study["floor"])
    yield from _accuracy(run, tables)
    yield from _largest_of_map(tables)
    yield from _ablation(tables)
    for _, row in tables.draws.iterrows():
        if row["used"] < study["pairs"]:
            yield _CLAIMS["symbolic-few-pairs"].say(
                found=row["used"], asked=study["pairs"], drawn=row["drawn"], pairs=row["pairs"],
                rule="both rules" if row["rule"] == "both" else f"rule {row['rule']}",
            )  # fmt: skip


def _order(tables: Tables) -> Sentence:
    layers = ", ".join(
        f"{row['type']} {row['layer']:.1f}" if row["found"] else f"{row['type']} none"
        for _, row in tables.types.iterrows()
    )
    shown = len(tables.order) == 2 and bool((tables.order["lo"] > 0).all())
    name = "symbolic-layers-in-order" if shown else "symbolic-layers-not-in-order"
    return _CLAIMS[name].say(layers=layers)


def _accuracy(run: Run, tables: Tables) -> Iterator[Sentence]:
    shots = run.manifest["study"]["shots"]
    rows = tables.accuracy[tables.accuracy["shots"] == shots]
    if rows.empty:
        return
    from statsmodels.stats.proportion import proportion_confint

    total = int(rows["prompts"].sum())
    right = round(float((rows["accuracy"] * rows["prompts"]).sum()))
    lo, hi = proportion_confint(right, total, method="wilson")
    yield _CLAIMS["symbolic-accuracy"].say(
        shots=shots, model=run.manifest["model"]["name"], accuracy=right / total, lo=lo, hi=hi
    )


def _largest_of_map(tables: Tables) -> Iterator[Sentence]:
    rows = tables.map[tables.map["pairs"] == "abstract"]
    if len(rows):
        row = rows.loc[rows["score"].idxmax()]
        yield _CLAIMS["symbolic-rule-at-token"].say(
            branch=f"the {figures.BRANCHES[row['branch']]}",
            **row[["layer", "token", "score", "share"]].to_dict(),
        )


def _ablation(tables: Tables) -> Iterator[Sentence]:
    for kind, part in tables.ablation.groupby("type", sort=False):
        if kind == "none":
            continue
        most = part[part["heads"] == part["heads"].max()].set_index("arm")["accuracy"]
        yield _CLAIMS["symbolic-ablation"].say(
            heads=int(part["heads"].max()), type=kind, top=most["top"], same=most["same layers"],
            random=most.get("random", np.nan),
        )  # fmt: skip


def _task_blocks(tables: Tables) -> Iterator[Block]:
    if len(tables.accuracy):
        yield block(
            "Accuracy",
            "Share of prompts whose most probable next token is the answer, with Wilson's limits, and share "
            "in which the answer is above the query's other item. Prompts are drawn anew, solved or not.",
            table=tables.accuracy,
        )
    yield block(
        "Pairs drawn and refused",
        "Pairs are drawn until enough are solved: both prompts must be. Merged: the model's tokenizer does "
        "not read every item and separator as one token.",
        table=tables.draws,
    )


def _head_blocks(tables: Tables) -> Iterator[Block]:
    yield block(
        "Types of heads",
        "Logit gap of the prompts, threshold of the sign-flip test, heads found, and their layer weighted by "
        "score. A head may be of several types.",
        table=tables.types,
    )
    said = "; ".join(
        f"{kind}: highest {part['score'].iloc[0]:.2f} at layer {part['layer'].iloc[0]}, head "
        f"{part['head'].iloc[0]}"
        for kind, part in tables.heads.groupby("type", sort=False)
    )
    yield block(
        "Scores of all heads",
        "One scale for all types; heads that are found are framed.",
        figure=figures.head_maps(tables.heads),
        alt=f"Three maps of layers and heads. {said}.",
    )
    columns = [
        "type", "layer", "head", "score", "lo", "hi", "share", "score_ABA", "score_ABB",
        "score_other_pairs", "odds_ratio_minus_1", "p", "significant", "above_floor", "found",
    ]  # fmt: skip
    top = tables.heads[tables.heads["found"] | tables.heads["significant"]]
    yield block(
        "Significant heads",
        "Score in logits with Student's 95 % limits over pairs, its share of the logit gap, the score for "
        "each base rule and in the other kind of pairs (where a pure head of this type has none), and on the "
        "odds scale.",
        table=top[columns].groupby("type", sort=False).head(_SHOWN),
    )
    if len(tables.order):
        yield block(
            "Order of layers",
            "Difference of score-weighted layers, later less earlier type, with percentile limits over pairs.",
            table=tables.order,
        )
    if len(tables.map):
        yield block(
            "Layers and tokens",
            "Score of the attention and MLP output of each layer at each token, mean of a few pairs: where "
            "the rule (abstract pairs) and the token (token pairs) pass, wherever the head tests look. The "
            "query's items are swapped in abstract pairs too: low layers at Aq and Bq carry which is where.",
            figure=figures.token_maps(tables.map),
            alt="Maps of layers and tokens, one a kind of pairs and branch; the largest is named above.",
        )


def _probe_blocks(tables: Tables) -> Iterator[Block]:
    if len(tables.ablation):
        yield block(
            "Ablation",
            "Heads of highest score silenced together on fresh solved prompts, against as many of lowest "
            "score in the same layers and random ones.",
            figure=figures.ablation_curves(tables.ablation),
            table=tables.ablation.rename(columns={"arm": "silenced"}),
            alt="Accuracy against heads silenced, three arms a type; the numbers stand in the table.",
        )
    if not len(tables.attention):
        return
    yield block(
        "Attention",
        "Mean attention of the top head of each type, from the last third item (abstraction) or the last "
        "token, in prompts of rule ABA; and of all heads found to where their type should look.",
        figure=figures.attention_patterns(tables.patterns),
        table=tables.attention,
        alt="Attention by token, one panel a type; shares to the named targets stand in the table.",
    )
    yield block(
        "Similarity",
        "Correlation of the similarity of outputs with having the same rule (abstract) and the same tokens "
        "(token), over pairs of prompts; and mean cosines of the top head between conditions.",
        figure=figures.cosine_matrices(tables.cosines),
        table=tables.similarity,
        alt="Three matrices of cosines between rules and queries; correlations stand in the table.",
    )
    yield block(
        "Decoding",
        "Share of prompts whose rule a linear decoder of one head's output tells, on words that it was not "
        "fitted to; more shots than it was fitted to where asked. Half would be chance. Decoding shows what "
        "an output holds, not what is used.",
        table=tables.decoding,
    )
