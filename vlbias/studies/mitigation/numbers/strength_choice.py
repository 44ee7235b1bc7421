"""The choice of strengths: bias and performance on the choosing split, and the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vlbias.analysis.pareto import pareto
from vlbias.studies.mitigation.numbers.bias import ConditionBias
from vlbias.studies.mitigation.numbers.performance import ConditionPerformance

__all__ = ["PRIMARY", "choose_strengths", "described", "main_metric"]

PRIMARY = {"AP": "margin", "mAP": "margin", "R@5": "margin_recall"}
"""What is to be kept, and the setting of the protocol that is its margin."""

_ABOUT = ("name", "setting", "method", "varied", "role", "draw", "strength")


def described(about: Mapping[str, Any]) -> dict[str, Any]:
    """What every table says of a condition, from its row of `Conditions.frame`."""
    return {name: about[name] for name in _ABOUT}


def choose_strengths(bias: ConditionBias, performance: ConditionPerformance) -> pd.DataFrame:
    """Bias and performance on the choosing split, the Pareto front, and the strength that is chosen.

    Every condition stands beside the model as it is on the same photos (columns with `_null`).
    """
    scores, rows = bias.scores, []
    for about in scores.stored.frame.to_dict("records"):
        name = about["name"]
        photos = scores.complete(name, "choose")
        own = _primary(dict(performance.metrics(name, "choose", photos)))
        numbers = {**bias.on(name, "choose", photos), **own}
        null = {
            **bias.on("none", "choose", photos),
            **_primary(performance.before("choose", photos)),
        }
        beside = {f"{key}_null": null[key] for key in numbers if key != "B_plugin"}
        rows.append({**described(about), **numbers, **beside})
    table = pd.DataFrame(rows).assign(front=False, chosen=False)
    margins = {m: scores.protocol[key] for m, key in PRIMARY.items() if m in table}
    main = main_metric(table, margins)
    own = table[table["role"].isin(["none", "mitigated"])]
    table.loc[own.index, "front"] = pareto(
        *(own[m] - own[f"{m}_null"] for m in ("B_crossfit", main))
    )
    for _, part in table[table["role"] == "mitigated"].groupby("setting", sort=False):
        kept = np.all([part[m] >= part[f"{m}_null"] - d for m, d in margins.items()], axis=0)
        if kept.any():
            best = part[kept].sort_values(["B_crossfit", "strength"], kind="stable").index[0]
        else:
            best = part[main].idxmax()
        table.loc[best, "chosen"] = True
        table.loc[best, "admissible"] = bool(kept.any())
    return table


def main_metric(choice: pd.DataFrame, margins: Mapping[str, float]) -> str:
    """The first metric of which the model as it is has more than the margin to lose, if there is one."""
    null = choice[choice["role"] == "none"].iloc[0]
    able = [metric for metric, margin in margins.items() if null[metric] > margin]
    return (able or list(margins))[0]


def _primary(performance: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    return {metric: float(performance[metric][0]) for metric in performance if metric in PRIMARY}
