"""The content of a page for machines: one JSON file, and a block for a model card."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import pandas as pd
import yaml

from vlbias.report.blocks import Section
from vlbias.report.funnel import are_given
from vlbias.store.run_folder import Run

__all__ = ["Published", "as_markdown", "card_text", "frames", "json_text", "model_index"]

_MARKS = re.compile(
    r"[\\`$]|<(?=[A-Za-z/!?])|&(?=[A-Za-z#])|\](?=[(\[:])|(?<!\s)[*~]|[*~](?!\s)|(?<!\w)_|_(?!\w)"
)
_BLOCK = re.compile(r"(?:[#>+=-]|\d+(?=[.)]))")

Published = Sequence[tuple[Run, Any, Section, Mapping[str, Any]]]
"""Runs, each with its tables, its section, and what the page says of it in words."""


def frames(tables: Any) -> dict[str, pd.DataFrame]:
    """Name to frame of everything that a page shows of a run."""
    return {field.name: getattr(tables, field.name) for field in fields(tables)}


def json_text(runs: Published) -> str:
    """What the page says of every run: words, provenance, and all tables as records."""
    content = [
        {
            **said,
            "tables": {
                name: json.loads(frame.to_json(orient="records", double_precision=15))
                for name, frame in frames(tables).items()
            },
        }
        for _, tables, _, said in runs
    ]
    return json.dumps({"runs": content}, ensure_ascii=False)


def card_text(runs: Published, limits: Sequence[str]) -> str:
    """A block for a model card: `model-index` as front matter, then findings and limits.

    Args:
        runs: What was analysed.
        limits: Sentences on what the numbers do not say.
    """
    index = model_index([(run, section) for run, _, section, _ in runs])
    front = yaml.safe_dump(index, sort_keys=False, allow_unicode=True, width=100) if index else ""
    lines = ["---", *front.splitlines(), "---", "", "## Bias", ""]
    for *_, said in runs:
        lines += [f"**{as_markdown(said['name'])}**: {as_markdown(said['headline'])}", ""]
        lines += [f"- {as_markdown(reading)}" for reading in said["readings"]] + [""]
    lines += ["### Limits", "", *(f"- {limit}" for limit in limits), ""]
    return "\n".join(lines)


def as_markdown(text: str) -> str:
    """A sentence for Markdown: names in it are no links, no tags and no emphasis, and it is one line."""
    line = _MARKS.sub(r"\\\g<0>", " ".join(text.split()))
    block = _BLOCK.match(line)
    if block is None:
        return line
    start = block.group()
    return f"{start}\\{line[len(start) :]}" if start.isdigit() else f"\\{line}"


def model_index(runs: Sequence[tuple[Run, Section]]) -> dict[str, Any]:
    """The `model-index` of a Hugging Face model card, an entry a model; empty if nothing has a metric.

    Its fields are those of the model card specification: task, dataset with revision, metrics with
    a type of their own where the hub has none, and what determines the numbers as `args`.
    """
    models: dict[str, list[dict[str, Any]]] = {}
    for run, section in runs:
        if section.metrics and "model" in run.manifest:
            models.setdefault(run.manifest["model"]["name"], []).append(_result(run, section))
    entries = [{"name": name, "results": found} for name, found in models.items()]
    return {"model-index": entries} if entries else {}


def _result(run: Run, section: Section) -> dict[str, Any]:
    about = run.manifest
    data = about["study"]["dataset"]
    groups = "given groups" if are_given(run) else "perceived gender"
    return {
        "task": {"type": section.task},
        "dataset": {
            "name": f"{about['data']['meta'].get('source', data['name'])}, {groups}",
            "type": data["name"],
            "split": "+".join(data["splits"]),
            "revision": about["data"]["content_hash"],
        },
        "metrics": [dict(metric) for metric in section.metrics],
    }
