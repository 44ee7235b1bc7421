"""The rule of decision of a run of photos: fixed in its manifest before it reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlbias.report.claims import Claim, Sentence
from vlbias.store.run_folder import Run

__all__ = ["CLAIMS", "RULE", "departures"]

RULE: Mapping[str, str] = {
    "bias": "studentised permutation test of group labels, 5 %; the gate of all other statements on bias",
    "objects": "step-down max-T over objects, 2.5 %",
    "change of B": "limits of the change of B itself",
    "beyond strictness": "B_lin beside thresholds matched class by class",
    "beyond placebo": "the same beside the placebo",
    "family": "Holm; worlds 2.5 %, chosen settings of mitigations 5 %",
}
"""What decides each statement, and over which family its error is held."""

CLAIMS = (
    Claim(
        "rule-not-fixed",
        "The rule of decision was not fixed before this run reported: the run is of a version of vlbias that "
        "wrote "
        "none. This page applies the present rule.",
        "none",
        "the manifest of the run",
        "no finding",
        "tests/test_decisions.py",
    ),
    Claim(
        "rule-departs",
        "This page departs from the rule of decision that the run fixed, in: {parts}.",
        "none",
        "the manifest of the run beside the rule of this version",
        "no finding",
        "tests/test_decisions.py",
    ),
)


def departures(run: Run) -> list[Sentence]:
    """What a page has to say where its rule is not the one that the run fixed; usually nothing."""
    fixed: Mapping[str, Any] | None = run.manifest.get("decisions")
    not_fixed, departs = CLAIMS
    if not fixed:
        return [not_fixed.say()]
    parts = [name for name in {**RULE, **fixed} if RULE.get(name) != fixed.get(name)]
    return [departs.say(parts=", ".join(parts))] if parts else []
