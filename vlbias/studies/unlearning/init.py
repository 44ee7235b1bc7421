"""A commented study of unlearning for a file of facts and a language model."""

from __future__ import annotations

from pathlib import Path

from vlbias.errors import BadData
from vlbias.studies.knowledge.started import Found, found_facts, methods_table, written
from vlbias.studies.start import Start, commented_line

__all__ = ["start"]

_TITLE = "facts that a language model is to forget (after SemEval-2025 Task 4)."


def start(data: Path, model: str, out: Path) -> Start:
    """Write a commented study of early against late MLPs.

    Raises:
        VlbiasError: see `vlbias.studies.knowledge.started.found_facts`.
        BadData: also if the facts are not of two groups.
    """
    found = found_facts(data, model, out)
    forget, retain = _groups(found)
    holdout = "holdout" if "holdout" in found.groups else ""
    half = max(1, found.layers // 2)
    places = [("early", found.mlps(0, half - 1)), ("late", found.mlps(half, found.layers - 1))]
    losses = [("joint", "joint"), *([("hinge", "hinge")] if holdout else [("NPO", "npo")])]
    methods = [
        {"label": f"{label}, {when} MLPs", "sites": sites, "loss": loss}
        for label, loss in losses
        for when, sites in places
        if sites
    ]
    return written(
        found,
        "unlearning",
        _TITLE,
        [
            commented_line("forget", forget, "group of the facts to forget"),
            commented_line("retain", retain, "group of those to retain"),
            commented_line("holdout", holdout, "group the model was never trained on, if any"),
            commented_line("gold", "", "a model that never saw the facts to forget, if any"),
            commented_line("level", 0.1, "training stops at this share still answered"),
            commented_line("seeds", [0, 1, 2], "of training"),
            commented_line("relearn", 40, "steps on half of the forgotten subjects"),
            *methods_table(methods, "ways of forgetting that are compared"),
        ],
    )


def _groups(found: Found) -> tuple[str, str]:
    """The groups to forget and to retain: those of these names, or the first two."""
    names = [name for name in found.groups if name != "holdout"]
    if {"forget", "retain"} <= set(names):
        return "forget", "retain"
    if len(names) < 2:
        raise BadData(
            f"the facts are of {len(names)} groups ({', '.join(map(repr, names))}); give those to forget and "
            'those to retain groups of their own ("group": "forget" and "retain")'
        )
    return names[0], names[1]
