"""Every sentence that the page of a study of planted models can print."""

from __future__ import annotations

from functools import partial

from vlbias.report.claims import Claim, claim_named

__all__ = ["CLAIMS", "claim"]

CLAIMS = (
    Claim(
        "encoders-named",
        "{method} names exactly the planted encoders in {right} of {sets} sets of scenes, and none in "
        "{quiet} of "
        "{empty} where there is no bias.",
        "how often a method says what was planted",
        "counts",
        "no finding beyond these models and scenes",
        "the run itself",
    ),
)

claim = partial(claim_named, CLAIMS)
"""The claim of a name."""
