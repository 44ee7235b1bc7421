"""What a page can say of several models."""

from __future__ import annotations

from vlbias.report.claims import Claim

__all__ = ["CLAIMS"]

CLAIMS = (
    Claim(
        "models-compared",
        "{shown} of {pairs} differences of B between {models} models are shown, on the same {photos} photos "
        "and {objects} objects.",
        "differences of B (cross-fit) between models on shared photos and objects",
        "Student's limits of the difference from draws that both models share, with the error of thresholds",
        "Holm over all pairs of the page, 5 %",
        "experiments/model_differences.py; experiments/results/model_differences.md",
    ),
)
