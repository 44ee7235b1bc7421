"""Every sentence that the page of a study of planted models can print."""

from __future__ import annotations

from vlbias.report.claims import Claim

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


def claim(name: str) -> Claim:
    """The claim of a name."""
    return next(one for one in CLAIMS if one.name == name)
