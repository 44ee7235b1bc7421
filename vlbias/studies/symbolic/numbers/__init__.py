"""All tables of a run of symbolic mechanisms."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from vlbias.errors import BadTable
from vlbias.runs.events import Note, silent
from vlbias.store.finished import refuse_unfinished
from vlbias.store.run_folder import Run
from vlbias.studies.symbolic.head_types import HEAD_TYPES
from vlbias.studies.symbolic.numbers.heads import head_table, layer_order, type_table
from vlbias.studies.symbolic.numbers.probes import (
    attention_table,
    cosine_table,
    decoding_table,
    pattern_table,
    similarity_table,
)
from vlbias.studies.symbolic.prompts import Format

__all__ = ["Tables", "numbers"]

Cells = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Tables:
    """Everything a page shows of a model on the identity-rule task, as tidy frames.

    Args:
        accuracy: One row a number of shots and rule.
        draws: One row a kind of pairs and rule: what became of the pairs that were drawn.
        heads: One row a type and head: score, limits, test, floor, whether found.
        types: One row a type: how many heads are found, and their layer weighted by score.
        order: Differences of these layers, with limits.
        map: One row a kind of pairs, branch, layer and token.
        ablation: One row a type, number of heads and arm.
        attention: One row a type, head and target.
        patterns: One row a type's top head and token that it attends to.
        similarity: One row a type and head: with equal rules, and with equal tokens.
        cosines: One row a type's top head and pair of conditions.
        decoding: One row a type, head and number of shots.
    """

    accuracy: pd.DataFrame
    draws: pd.DataFrame
    heads: pd.DataFrame
    types: pd.DataFrame
    order: pd.DataFrame
    map: pd.DataFrame
    ablation: pd.DataFrame
    attention: pd.DataFrame
    patterns: pd.DataFrame
    similarity: pd.DataFrame
    cosines: pd.DataFrame
    decoding: pd.DataFrame


def numbers(run: Run, *, draws: int = 2000, seed: int = 0, note: Note = silent) -> Tables:
    """All tables of a run.

    Args:
        run: The run.
        draws: Resampling draws of limits; the test of heads flips signs as often, at least 5,000 times.
        seed: Of the draws.
        note: Told what is being done.

    Raises:
        BadTable: if cells are missing or damaged, or the ablation is.
    """
    refuse_unfinished(run)
    study = run.manifest["study"]
    cells = [json.loads(path.read_text(encoding="utf-8")) for path in run.files]
    scored = [cell for cell in cells if cell["step"] == "scores"]
    note("testing heads")
    heads = head_table(scored, study["floor"], max(draws, 5000), seed)
    probes = [cell for cell in cells if cell["step"] == "probe"]
    tops = {
        kind.name: heads[heads["type"] == kind.name].iloc[0][["layer", "head"]].to_dict()
        for kind in HEAD_TYPES
    }
    return Tables(
        accuracy=_accuracy(cells),
        draws=_draws(scored),
        heads=heads,
        types=type_table(heads, scored),
        order=layer_order(heads, scored, draws, seed),
        map=_map(cells),
        ablation=_ablation(run),
        attention=attention_table(probes, heads),
        patterns=pattern_table(probes, tops, study["shots"]),
        similarity=similarity_table(probes, heads),
        cosines=cosine_table(probes, tops),
        decoding=decoding_table(probes, heads),
    )


def _accuracy(cells: Cells) -> pd.DataFrame:
    rows = []
    for cell in cells:
        if cell["step"] == "accuracy":
            lo, hi = proportion_confint(cell["correct"], cell["prompts"], method="wilson")
            rows.append(
                {
                    "shots": cell["shots"],
                    "rule": cell["rule"],
                    "prompts": cell["prompts"],
                    "accuracy": cell["correct"] / cell["prompts"],
                    "lo": lo,
                    "hi": hi,
                    "above_rival": cell["above_rival"] / cell["prompts"],
                }
            )
    columns = ["shots", "rule", "prompts", "accuracy", "lo", "hi", "above_rival"]
    return pd.DataFrame(rows, columns=columns)


def _draws(scored: Cells) -> pd.DataFrame:
    rows = []
    for kind, rule in dict.fromkeys((cell["kind"], cell["rule"]) for cell in scored):
        same = [cell for cell in scored if (cell["kind"], cell["rule"]) == (kind, rule)]
        names = ("tokens merged", "first unsolved", "second unsolved", "solved")
        counts = {name: sum(cell["draws"].get(name, 0) for cell in same) for name in names}
        drawn, used = sum(counts.values()), sum(len(cell["pairs"]) for cell in same)
        rows.append({"pairs": kind, "rule": rule, "drawn": drawn, **counts, "used": used})
    return pd.DataFrame(rows)


def _map(cells: Cells) -> pd.DataFrame:
    rows = []
    for kind in ("abstract", "token"):
        same = [cell for cell in cells if cell["step"] == "map" and cell["kind"] == kind]
        weights = [len(cell["pairs"]) for cell in same]
        for branch in same[0]["scores"] if same else ():
            parts = [np.array(cell["scores"][branch]) for cell in same]
            mean = np.average(parts, axis=0, weights=weights)
            gap = np.average([np.mean(cell["gap"]) for cell in same], weights=weights)
            labels = Format(same[0]["shots"]).labels()
            rows += [
                {
                    "pairs": kind, "branch": branch, "layer": layer, "place": place,
                    "token": labels[place], "score": mean[layer, place],
                    "share": mean[layer, place] / abs(gap),
                    "odds_ratio_minus_1": np.expm1(mean[layer, place]),
                }
                for layer, place in np.ndindex(*mean.shape)
            ]  # fmt: skip
    columns = [
        "pairs", "branch", "layer", "place", "token", "score", "share", "odds_ratio_minus_1",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _ablation(run: Run) -> pd.DataFrame:
    columns = ["type", "heads", "arm", "draws", "accuracy", "probability", "prompts"]
    if not run.manifest["study"]["ablation"]:
        return pd.DataFrame(columns=columns)
    path = run.folder / "ablation.json"
    if not path.is_file():
        raise BadTable(
            f"{run.folder}: heads were not ablated yet; run `vlbias resume {run.folder}`"
        )
    content = json.loads(path.read_text(encoding="utf-8"))
    frame = pd.DataFrame(content["rows"], columns=["type", "heads", "arm", "draw", *columns[4:6]])
    mean = frame.groupby(["type", "heads", "arm"], sort=False).agg(
        draws=("draw", "size"), accuracy=("accuracy", "mean"), probability=("probability", "mean")
    )
    return mean.reset_index().assign(prompts=content["prompts"])[columns]
