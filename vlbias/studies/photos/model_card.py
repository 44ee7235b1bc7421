"""Numbers of a run on photos for a model card of Hugging Face."""

from __future__ import annotations

from typing import Any

import pandas as pd

from vlbias.store.run_folder import Run

__all__ = ["photo_metrics", "task_of"]

_METRICS = {
    "B_crossfit": ("gender-bias-crossfit", "B, cross-fit: sum over objects of FPR gaps"),
    "B_plugin": ("gender-bias-plugin", "B, plug-in (inflated by noise)"),
    "floor": ("gender-bias-noise-floor", "Mean plug-in B without any gap"),
    "p": ("gender-bias-p-value", "p-value of no bias, groups permuted"),
    "mean_fpr": ("false-positive-rate", "Mean false-positive rate"),
    "presence_mAP": ("mean_average_precision", "Presence mAP"),
}


def task_of(run: Run) -> str:
    """The task as model cards name it: detection where boxes were kept."""
    finds_boxes = bool(run.manifest["study"]["keep_boxes"])
    return "zero-shot-object-detection" if finds_boxes else "zero-shot-image-classification"


def photo_metrics(run: Run, null: pd.Series[Any], calibrated_on: str) -> list[dict[str, Any]]:
    """Metrics of the model as it is, each with what determines it as args.

    Args:
        run: The run.
        null: The row of the null world, or of the model as it is, of the table of conditions.
        calibrated_on: The split that set the thresholds.
    """
    point = run.manifest["study"]["operating_point"]
    shared = {
        "world": str(null.get("world", "as it is")),
        "objects": int(null["n_objects"]),
        "operating_point": f"{point['rule']} {point['value']:g} on {calibrated_on}",
        "tool": f"vlbias {run.manifest['packages']['vlbias']}",
    }
    metrics = []
    for column, (kind, name) in _METRICS.items():
        if column not in null or pd.isna(null[column]):
            continue
        extra = dict(shared)
        if column == "B_crossfit":
            extra |= {"B_lower_95": float(null["B_lo"]), "B_upper_95": float(null["B_hi"])}
        metrics.append({"type": kind, "name": name, "value": float(null[column]), "args": extra})
    return metrics
