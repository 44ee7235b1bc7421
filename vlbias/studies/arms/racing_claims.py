"""What a page can say of units that were raced."""

from __future__ import annotations

from vlbias.report.claims import Claim

__all__ = ["CLAIMS"]

CLAIMS = (
    Claim(
        "raced-shown",
        "{contrast}: of {units} raced units {found} survive correction: {which}. Surely among the {keep} "
        "largest of them: {largest}.",
        "mean change through each unit: of the log-odds of the first candidate (texts), or of the score gaps "
        "in the direction that they have on the photos that set thresholds (photos)",
        "group-sequential max-T over all units and rounds; a place is claimed where the same limits are apart",
        "any false finding or place in 5 % of one contrast, whatever the rounds",
        "experiments/racing.py; tests/test_racing.py",
    ),
    Claim(
        "raced-not-shown",
        "{contrast}: none of {units} raced units survives correction.",
        "as raced-shown",
        "as raced-shown",
        "no finding; who left would have survived with at most the probability that the study names",
        "experiments/racing.py",
    ),
)
