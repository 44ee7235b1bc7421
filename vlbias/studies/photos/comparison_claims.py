"""What a page can say of several models."""

from __future__ import annotations

from vlbias.report.claims import Claim

__all__ = ["CLAIMS"]

_SIMULATED = "experiments/model_differences.py; experiments/results/model_differences.md"

CLAIMS = (
    Claim(
        "models-compared",
        "{shown} of {pairs} differences of B between {models} models are shown, on the same {photos} photos "
        "and {objects} objects.",
        "differences of B (cross-fit) between models on shared photos and objects",
        "Student's limits of the difference from draws that both models share, with the error of thresholds",
        "Holm over all pairs of the page, 5 %",
        _SIMULATED,
    ),
    Claim(
        "glance-models",
        "On the same photos the differences between the groups are larger in {more} than in {less}.",
        "differences of B (cross-fit) between models on shared photos and objects",
        "as models-compared",
        "as models-compared",
        _SIMULATED,
    ),
    Claim(
        "glance-models-not-shown",
        "Of {models} models on the same photos none is shown to have larger differences between the groups "
        "than another.",
        "differences of B (cross-fit) between models on shared photos and objects",
        "as models-compared",
        "no finding",
        _SIMULATED,
    ),
)
