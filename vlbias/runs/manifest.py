"""What a run was: study, model, data, versions, and every choice that the reference paper leaves open."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vlbias.causal.engine import Engine
from vlbias.causal.staged import StagedModel
from vlbias.outcomes import OUTCOMES
from vlbias.store.run_folder import SCHEMA_VERSION
from vlbias.studies.arms.plan import Plan

__all__ = ["difference", "manifest_of"]

_PACKAGES = ("torch", "transformers", "numpy", "pandas", "pyarrow", "pillow", "vlbias")


def manifest_of(plan: Plan, model: StagedModel, engine: Engine, keys: list[str]) -> dict[str, Any]:
    """Everything about a run but its numbers, as manifest.json holds it."""
    study = plan.study
    cuts = engine.cuts()
    return {
        "schema": SCHEMA_VERSION,
        "study": study.model_dump(mode="json"),
        "targets": list(
            dict.fromkeys(
                target
                for name in study.outcomes
                for target in OUTCOMES.load(name)(plan.dataset.classes).targets
            )
        ),
        "cells": keys,
        "rows": plan.rows,
        "model": {
            "name": model.name,
            "revision": model.revision,
            "parameters": sum(p.numel() for p in model.net.parameters()),
        },
        "data": {"content_hash": plan.dataset.content_hash, "meta": dict(plan.dataset.meta)},
        "mediators": {
            mediator.name: {
                "sites": [str(site) for site in mediator.sites],
                "cut": mediator.name in cuts,
            }
            for mediator in plan.mediators
        },
        "contrasts": {
            pair.name: {
                "alters": sorted(engine.altered[pair]),
                "mediators": [mediator.name for mediator in engine.mediators_of(pair)],
            }
            for pair in study.pairs
        },
        "paper_unknowns": _register(plan, model),
        "packages": {name: version(name) for name in _PACKAGES},
        "commit": _commit(),
        "machine": {
            "python": sys.version.split()[0],
            "platform": platform.platform(),
            "device": study.device,
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "sessions": [],
    }


def _register(plan: Plan, model: StagedModel) -> dict[str, str]:
    """What was chosen for everything the reference paper leaves open (U1 to U11)."""
    study, point = plan.study, plan.study.operating_point
    if study.is_of_texts:
        return {
            "probability of several tokens": "geometric mean of the tokens' probabilities",
            "effect": "mean over samples of y / y(null) - 1, with median and geometric mean beside it",
            "special tokens": "where the model's own tokenizer puts them",
            "words of several tokens": (
                "kept; mediators are misaligned where the worlds' lengths differ"
                if study.align == "record"
                else "kept; another wording of as many tokens stands in the other world where there is one"
            ),
            "attention": "one plain softmax attention for every number, so that its weights can be replaced",
            "filter": "shown beside the unfiltered numbers, never alone",
            **{key: str(value) for key, value in study.dataset.options.items()},
        }
    fills = {spec.fill for spec in study.worlds.values() if spec.image}
    regions = {spec.region for spec in study.worlds.values() if spec.image}
    return {
        "U1 model": model.name,
        "U2 prompt": study.prompt,
        "U3 objects": f"{len(plan.dataset.classes)} classes; person is left out of sums",
        "U4 threshold": f"{point.rule} {point.value if point.rule == 'fpr' else ''} on {point.split}".strip(),
        "U5 groups": _source_of_groups(plan.dataset.meta),
        "U6 mask region": ", ".join(sorted(regions)) or "none",
        "U7 mask fill": ", ".join(sorted(fills)) or "none",
        "U8 normalisation": "differences in raw units, and relative to B of the null world",
        "U9 layers": f"{len(plan.mediators)} mediators, listed under 'mediators'",
        "U10 retention metric": "presence mAP on the same photos",
        "U11 split": f"{study.dataset.name}: {', '.join(study.dataset.splits)}",
    }


def _source_of_groups(meta: Mapping[str, Any]) -> str:
    """Where the groups of the photos come from: a rule on captions, or the data themselves."""
    rule = dict(meta.get("rule", {"name": "given"}))
    if rule.pop("name") != "given":
        return f"read from captions: {', '.join(f'{key} {value}' for key, value in rule.items())}"
    column = f"column {rule['column']!r} of {meta['source']}" if "column" in rule else ""
    return f"given with the data: {column or rule.get('by', meta.get('reader', 'by whoever made them'))}"


def difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The first thing in which two manifests differ, in words."""
    for part in ("study", "model", "data", "packages"):
        for key, value in now[part].items():
            if before[part].get(key) != value:
                return f"{part}.{key} differs: {str(before[part].get(key))[:80]} there, {str(value)[:80]} here"
    return "the examples differ"


def _commit() -> str | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    with suppress(OSError):
        answer = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
        )
        return answer.stdout.strip() or None
    return None
