"""What a page of causal tracing can say."""

from __future__ import annotations

from vlbias.report.claims import Claim

__all__ = ["CLAIMS"]

_SHARE = (
    "probability of the answer with one part of the clean run restored, less the corrupted probability, "
    "summed over facts, over the total effect of the same facts"
)
_BOOTSTRAP = "percentile limits of a bootstrap over subjects"
_EVIDENCE = (
    "tests/test_fact_nets.py: nets whose facts can be, or were, written in known layers only"
)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "tracing-total",
        "{model} knows {known} of {facts} facts of {group}. Corrupting the subject takes the probability of "
        "the answer from {clean:.2f} to {corrupted:.2f}, by {total:.2f} [{lo:.2f}, {hi:.2f}].",
        "probability of the answer in the clean run less that in the corrupted ones, mean over known facts",
        _BOOTSTRAP,
        "95 % coverage",
        "tests/test_tracing_run.py",
    ),
    Claim(
        "tracing-none-known",
        "{model} knows none of {facts} facts of {group}: nothing can be traced.",
        "number of facts whose whole answer the model says",
        "a count",
        "none",
        "tests/test_tracing_run.py",
    ),
    Claim(
        "tracing-largest",
        "In facts of {group}, the branch whose restoring gives back most of the total effect is the {part} of "
        "layer {layer} at the {role}: {share:.0%} [{lo:.0%}, {hi:.0%}].",
        _SHARE,
        "none: the largest of the map, with its own limits",
        "none",
        _EVIDENCE,
        exploratory=True,
    ),
    Claim(
        "tracing-contrast",
        "Facts of {first} are carried more than those of {second} by the {part} of layer {layer} at the "
        "{role}: {difference:+.0%} of the total effect [{lo:+.0%}, {hi:+.0%}].",
        f"difference between two groups of facts of: {_SHARE}",
        "limits from the largest |t| over all sites, by a bootstrap over subjects of either group, exclude 0",
        "5 % for all sites together",
        _EVIDENCE,
    ),
    Claim(
        "tracing-no-contrast",
        "No part of {model} is shown to carry facts of {first} more than those of {second}.",
        f"difference between two groups of facts of: {_SHARE}",
        "limits from the largest |t| over all sites, by a bootstrap over subjects of either group",
        "an absence is not tested",
        _EVIDENCE,
    ),
)
"""All claims of this kind of study."""
