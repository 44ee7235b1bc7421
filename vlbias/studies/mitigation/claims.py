"""Every sentence that the page of a study of mitigations can print, with what it asserts and its error."""

from __future__ import annotations

from functools import partial

from vlbias.report.claims import Claim, claim_named
from vlbias.studies.photos import decisions, glance

__all__ = ["CLAIMS", "claim"]

_FAMILY = "Holm over the three statements of all settings at their chosen strengths, 5 %"
_HOSTILE = "experiments/hostile_worlds.py"

CLAIMS = (
    *glance.CLAIMS,
    Claim(
        "glance-helps",
        "With {setting} the differences that the model had get smaller, by more than with its placebo, and the "
        "model is shown to stay as good{further}.",
        "B_lin beyond the placebo at equal strictness; a metric of performance",
        "limits of the difference, words after correction; performance by its margin",
        _FAMILY + "; performance: 95 % of each setting alone",
        _HOSTILE,
    ),
    Claim(
        "glance-helps-at-a-cost",
        "With {setting} the differences that the model had get smaller, by more than with its placebo; that "
        "the model stays as good is not shown{further}.",
        "as glance-helps",
        "as glance-helps",
        _FAMILY,
        _HOSTILE,
    ),
    Claim(
        "glance-nothing-helps",
        "Of {settings} ways to take the differences out none is shown to make them smaller by more than its "
        "placebo does without making B larger.",
        "as glance-helps",
        "as glance-helps",
        "no finding",
        _HOSTILE,
    ),
    *decisions.CLAIMS,
    Claim(
        "settings-counted",
        "Settings: {settings}. After correction for all statements: B itself is reduced by {reduced} "
        "({reduced_names}); the "
        "gaps that the model had are smaller than in a model as strict for every class with {over} "
        "({over_names}), and than "
        "under their placebo with {beyond} ({beyond_names}). Performance is shown to be kept by {kept} "
        "({kept_names}).{larger}",
        "for each setting: the change of B; B_lin beyond class-by-class thresholds; B_lin beyond its "
        "placebo; performance",
        "limits of each; performance by its margin",
        _FAMILY + "; performance: 95 % of each setting alone",
        _HOSTILE + "; docs/statistics.md",
    ),
    Claim(
        "null-not-shown",
        "On the reported photos the bias of the model as it is cannot be told from noise (B {plugin:.3f}, "
        "floor "
        "{floor:.3f}, p {p:.3f}): a mitigation can hardly be shown to reduce it, and shares of it mean "
        "nothing.",
        "equality of the false-positive rates of the groups, for every object",
        "studentised permutation test of group labels",
        "no finding",
        _HOSTILE + ", 'bias is shown'",
    ),
    Claim(
        "setting",
        "{setting} at strength {strength:g}: B {bias} (its change lies in [{lo:+.3f}, {hi:+.3f}]). The gaps "
        "that the model "
        "had, summed in their direction (B_lin), change by {over} beside a model as strict for every class: "
        "{over_word}. "
        "{placebo} Performance is {performance} ({metric} {change}).{further}",
        "the change of B; B_lin beyond class-by-class thresholds; B_lin beyond the placebo; a metric of "
        "performance",
        "limits of each; words after correction",
        _FAMILY + "; limits are 95 % of each alone",
        _HOSTILE,
    ),
)

claim = partial(claim_named, CLAIMS)
"""The claim of a name."""
