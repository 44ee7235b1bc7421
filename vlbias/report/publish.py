"""The content of a page for machines: one JSON file, and a block for a model card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from vlbias.files import whole
from vlbias.report.funnel import are_given
from vlbias.store.run_folder import Run
from vlbias.studies.bias.numbers.tables import Tables
from vlbias.studies.language.numbers import LanguageTables
from vlbias.studies.mitigation.numbers.tables import MitigationTables

__all__ = ["frames", "model_index", "write_card", "write_json"]

AnyTables = Tables | LanguageTables | MitigationTables
_METRICS = {
    "B_crossfit": ("gender-bias-crossfit", "B, cross-fit: sum over objects of FPR gaps"),
    "B_plugin": ("gender-bias-plugin", "B, plug-in (inflated by noise)"),
    "floor": ("gender-bias-noise-floor", "Mean plug-in B with shuffled groups"),
    "p": ("gender-bias-p-value", "p-value of no bias, groups permuted"),
    "mean_fpr": ("false-positive-rate", "Mean false-positive rate"),
    "presence_mAP": ("mean_average_precision", "Presence mAP"),
}


def frames(tables: AnyTables) -> dict[str, pd.DataFrame]:
    """Name to frame of everything that a page shows of a run."""
    return {field.name: getattr(tables, field.name) for field in fields(tables)}


def write_json(path: Path, runs: Sequence[tuple[Run, AnyTables, Mapping[str, Any]]]) -> None:
    """Write what the page says of every run: words, provenance, and all tables as records.

    Args:
        path: The file.
        runs: Each run with its tables and what the page says of it in words.
    """
    content = [
        {
            **said,
            "tables": {
                name: json.loads(frame.to_json(orient="records", double_precision=15))
                for name, frame in frames(tables).items()
            },
        }
        for _, tables, said in runs
    ]
    with whole(path) as temporary:
        temporary.write_text(json.dumps({"runs": content}, ensure_ascii=False), encoding="utf-8")


def write_card(
    path: Path, runs: Sequence[tuple[Run, AnyTables, Mapping[str, Any]]], limits: Sequence[str]
) -> None:
    """Write a block for a model card: `model-index` as front matter, then findings and limits.

    Args:
        path: The file.
        runs: Each run with its tables and what the page says of it in words.
        limits: Sentences on what the numbers do not say.
    """
    index = model_index([(run, tables) for run, tables, _ in runs])
    front = yaml.safe_dump(index, sort_keys=False, allow_unicode=True, width=100) if index else ""
    lines = ["---", *front.splitlines(), "---", "", "## Bias", ""]
    for _, _, said in runs:
        lines += [f"**{said['name']}**: {said['headline']}", ""]
        lines += [f"- {reading}" for reading in said["readings"]] + [""]
    lines += ["### Limits", "", *(f"- {limit}" for limit in limits), ""]
    with whole(path) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")


def model_index(runs: Sequence[tuple[Run, AnyTables]]) -> dict[str, Any]:
    """The `model-index` of a Hugging Face model card, an entry a model; empty if nothing has a metric.

    Its fields are those of the model card specification: task, dataset with revision, metrics with
    a type of their own where the hub has none, and what determines the numbers as `args`.
    """
    models: dict[str, list[dict[str, Any]]] = {}
    for run, tables in runs:
        result = _result(run, tables)
        if result["metrics"]:
            models.setdefault(run.manifest["model"]["name"], []).append(result)
    entries = [{"name": name, "results": found} for name, found in models.items()]
    return {"model-index": entries} if entries else {}


def _result(run: Run, tables: AnyTables) -> dict[str, Any]:
    about = run.manifest
    study = about["study"]
    finds_boxes = bool(study["keep_boxes"])
    texts = isinstance(tables, LanguageTables)
    groups = "given groups" if are_given(run) else "perceived gender"
    task = "text-generation" if texts else "zero-shot-image-classification"
    return {
        "task": {"type": "zero-shot-object-detection" if finds_boxes else task},
        "dataset": {
            "name": f"{about['data']['meta'].get('source', study['dataset']['name'])}, {groups}",
            "type": study["dataset"]["name"],
            "split": "+".join(study["dataset"]["splits"]),
            "revision": about["data"]["content_hash"],
        },
        "metrics": list(
            _of_texts(tables) if isinstance(tables, LanguageTables) else _of(run, tables)
        ),
    }


def _of(run: Run, tables: Tables | MitigationTables) -> list[dict[str, Any]]:
    null = tables.conditions.iloc[0]
    point = run.manifest["study"]["operating_point"]
    shared = {
        "world": str(null.get("world", "as it is")),
        "objects": int(null["n_objects"]),
        "operating_point": f"{point['rule']} {point['value']:g} on {point['split']}",
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


def _of_texts(tables: LanguageTables) -> list[dict[str, Any]]:
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
