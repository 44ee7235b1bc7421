"""A commented study of editing for a file of facts and a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vlbias.errors import BadData
from vlbias.studies.knowledge.started import found_facts, methods_table, written
from vlbias.studies.start import Start, commented_line

__all__ = ["start"]

_TITLE = "many edits of facts one after another (after Hu et al. 2024, WilKE)."
_EDITS, _PROBES, _SITES = 32, 100, 5


def start(data: Path, model: str, out: Path) -> Start:
    """Write a commented study of rank-one edits and of MEMIT at layers before the middle.

    Raises:
        VlbiasError: see `vlbias.studies.knowledge.started.found_facts`.
        BadData: also if no more than one fact has a target, the answer that an edit writes.
    """
    found = found_facts(data, model, out)
    able = sum(bool(fact.target) for fact in found.facts.facts)
    if able < len(found.facts.facts) or able < 2:
        raise BadData(
            f"{able} of {len(found.facts.facts)} facts have a target, the answer that an edit writes; give all "
            'of them one ("target"), and two facts or more'
        )
    edits = min(_EDITS, max(1, able // 2))
    last = max(0, found.layers - 2)  # behind the last block no token reads the subject
    middle = min(found.layers // 3, last)
    sites = found.mlps(max(0, middle - _SITES // 2), min(last, middle + _SITES // 2))
    one = [f"lm/mlp.{middle}"]
    methods: list[dict[str, Any]] = [
        {"label": "ROME", "options": {"sites": one, "keys": "mixed", "ridge": 0.01}},
        {"label": "r-ROME", "options": {"sites": one, "keys": "one", "ridge": 0.01}},
    ]
    if len(sites) > 1:
        wilke = {"sites": sites, "rule": "smallest-cost", "keys": "mixed", "ridge": 0.01}
        methods += [
            {"label": "WilKE", "options": wilke},
            {"label": "MEMIT", "name": "memit", "options": {"sites": sites}},
        ]
    return written(
        found,
        "editing",
        _TITLE,
        [
            commented_line("edits", edits, "facts that are edited, one after another"),
            commented_line("probes", min(_PROBES, able - edits), "facts that are never edited"),
            commented_line("protocols", ["sequence"], 'also "roll-back", as published'),
            commented_line("prefixes", 4, "texts that may stand before a prompt"),
            commented_line("seed", 0, "of the order of the facts"),
            *methods_table(methods, "`sites` of a study of tracing or effects can be copied"),
        ],
    )
