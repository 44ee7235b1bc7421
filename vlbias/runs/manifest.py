"""The manifest of a run: versions, machine, sessions, and in what two manifests differ."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vlbias.runs.study import StudyBase
from vlbias.store.cell_writer import SCHEMA_VERSION

__all__ = ["described", "difference", "updated"]

_PACKAGES = ("torch", "transformers", "numpy", "pandas", "pyarrow", "pillow", "vlbias")


def described(
    study: StudyBase, cells: Sequence[str], rows: int, device: str = "cpu"
) -> dict[str, Any]:
    """What every manifest says: study, cells, schema, decisions, packages, commit, machine, date."""
    return {
        "study": study.model_dump(mode="json"),
        "cells": list(cells),
        "rows": rows,
        "schema": SCHEMA_VERSION,
        "decisions": dict(study.decisions),
        "packages": {name: version(name) for name in _PACKAGES},
        "commit": _commit(),
        "machine": {
            "python": sys.version.split()[0],
            "platform": platform.platform(),
            "device": device,
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "sessions": [],
    }


def updated(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest `now` of a folder that was made `before`: date, versions, sessions and decisions stay.

    What decides is fixed when a run begins: a folder without a rule does not get one later.
    """
    kept = ("created", "sessions", "packages", "commit", "machine")
    stays = {name: before[name] for name in kept}
    return {**now, **stays, "decisions": before.get("decisions", {})}


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first thing in which two manifests differ, in words."""
    for part in ("study", "model", "data", "packages"):
        for key, value in now.get(part, {}).items():
            there = before.get(part, {}).get(key)
            if there != value:
                return f"{part}.{key} differs: {str(there)[:80]} there, {str(value)[:80]} here"
    return "the samples differ"


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
