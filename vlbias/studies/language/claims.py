"""Every sentence that the page of a study of texts can print, with what it asserts and its error."""

from __future__ import annotations

from functools import partial

from vlbias.report.claims import Claim, claim_named
from vlbias.studies.arms import racing_claims

__all__ = ["CLAIMS", "claim"]

CLAIMS = (
    Claim(
        "glance-odds-shown",
        "Which of two words the model expects shifts {when}.",
        "geometric mean over samples of the odds in the other world over those in the null world",
        "95 % limits of the mean log ratio, over clusters of samples, exclude 0",
        "5 %, of the first contrast and outcome alone",
        "docs/statistics.md; tests/test_odds.py",
    ),
    Claim(
        "glance-odds-not-shown",
        "That the words which the model expects shift {when} cannot be told from chance.",
        "as glance-odds-shown",
        "as glance-odds-shown",
        "no finding",
        "docs/statistics.md; tests/test_odds.py",
    ),
    Claim(
        "glance-odds-where",
        "The single part whose exchange shifts it most is: {part}.",
        "mean indirect effect through one component, of those with an adjusted p of 5 % or less",
        "false discovery rate over all mediators of the contrast; the largest is picked and likely too large",
        "false discovery rate 5 % in one contrast; none for which part is the largest",
        "tests/test_language_run.py",
        exploratory=True,
    ),
    Claim(
        "total-effect",
        "{contrast}: total effect on the odds {mean} in the mean, {median:+.3f} in the median, {geometric} "
        "in the "
        "geometric mean of {n} samples; by the last it {verdict}.",
        "mean, median and geometric mean over samples of the odds in the other world over those in the null "
        "world, minus 1",
        "95 % limits of the mean log ratio, over clusters of samples; it is told from none if they exclude 0",
        "5 %, of the first contrast and outcome alone",
        "docs/statistics.md; tests/test_odds.py",
    ),
    Claim(
        "mean-effect",
        "{when} ({contrast}), odds of {target!r}, {samples} samples: ratio minus 1 is {mean} in the mean of "
        "{n} texts; the odds rise in {positive} of them.",
        "mean over samples of the ratio of odds, minus 1; filtered samples were chosen by it",
        "95 % limits of each alone",
        "95 % each; no family",
        "docs/statistics.md",
        exploratory=True,
    ),
    *racing_claims.CLAIMS,
)

claim = partial(claim_named, CLAIMS)
"""The claim of a name."""
