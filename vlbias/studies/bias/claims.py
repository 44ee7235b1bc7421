"""Every sentence that the page of a study of bias can print, with what it asserts and its error."""

from __future__ import annotations

from functools import partial

from vlbias.report.claims import Claim, claim_named
from vlbias.studies.arms import racing_claims
from vlbias.studies.photos import comparison_claims, decisions, glance

__all__ = ["CLAIMS", "claim"]

_SIZE = (
    "B, the sum of the gaps over {n_objects} objects, lies between {lo:.3f} and {hi:.3f} (95 %). Its plug-in "
    "value "
    "is {plugin:.3f}; sampling error alone gives {floor:.3f} on average. The cross-fit estimate, whose "
    "expectation is at most B, is {crossfit:.3f}."
)
_GATE = "first of the page: level 5 %; all other findings are stated only behind it"
_WORLDS = "Holm over all statements of the page on worlds, at 2.5 %, behind the gate of the first sentence"
_HOSTILE = "experiments/hostile_worlds.py"

CLAIMS = (
    *glance.CLAIMS,
    *comparison_claims.CLAIMS,
    Claim(
        "glance-where",
        "Part of what changes when {done} passes through the {part}.",
        "natural indirect effect through a whole encoder on B_lin",
        "limits of it, max-T over all mediators of the contrast",
        "5 % over the mediators of one contrast",
        "tests/test_planted.py",
        exploratory=True,
    ),
    Claim(
        "glance-where-not-shown",
        "Through which part of the model the differences pass is not shown.",
        "as glance-where",
        "as glance-where",
        "no finding",
        "tests/test_glance.py",
    ),
    Claim(
        "glance-world",
        "The differences get smaller when {done}, by more than a stricter model would explain. That is a test "
        "of the cause, and no remedy.",
        "as beyond-strictness",
        "as beyond-strictness",
        _WORLDS,
        _HOSTILE + ", 'beyond class thresholds'",
    ),
    Claim(
        "glance-worlds-not-shown",
        "None of what was tried is shown to make the differences smaller ({which}).",
        "as beyond-strictness",
        "as beyond-strictness",
        "no finding",
        _HOSTILE,
    ),
    *decisions.CLAIMS,
    Claim(
        "bias-shown",
        "{where}How often the model sees objects that are not there differs between the groups ({groups}) by "
        "more than chance (p = {p:.2g}). " + _SIZE,
        "equality of the false-positive rates of the groups, for every object; B",
        "studentised permutation test of group labels; limits of B from cross-fit and plug-in",
        _GATE + "; limits cover B in at least 95 %",
        _HOSTILE + ", 'bias is shown' and 'B'; docs/statistics.md",
    ),
    Claim(
        "bias-not-shown",
        "{where}Whether the model sees objects that are not there more often with one group than with another "
        "({groups}) cannot be told from noise at this size (p = {p:.2g}). " + _SIZE,
        "as bias-shown",
        "as bias-shown",
        "no finding: the upper limit says how large a B the data leave open",
        _HOSTILE,
    ),
    Claim(
        "bias-insufficient",
        "{where}No object has enough photos in both groups: nothing can be said about bias at this size.",
        "none",
        "rules of support",
        "no finding",
        "tests/test_object_gaps.py",
    ),
    Claim(
        "base-world",
        "No contrast of this study starts from 'null': B, its floor and its objects, the thresholds and the "
        "objects with support are of the world {world!r}, and changes are changes from it. For the bias of the "
        "model on photos as they are, add a contrast 'null->{world}'.",
        "none",
        "the contrasts of the study",
        "no finding",
        "tests/test_base_world.py",
    ),
    Claim(
        "gaps-shown",
        "Gaps that survive correction over {n} objects: {which}.",
        "the difference of the false-positive rates of one object",
        "step-down max-T over the objects, by permutation of group labels; limits of each gap alone",
        "any false gap in 2.5 %, behind the gate of the first sentence",
        _HOSTILE + ", 'gap of an object'",
    ),
    Claim(
        "gaps-not-shown",
        "No single object's gap survives correction over the {n} objects.",
        "as gaps-shown",
        "as gaps-shown",
        "no finding",
        _HOSTILE,
    ),
    Claim(
        "gaps-insufficient",
        "No object has enough photos and false positives in every group.",
        "none",
        "rules of support",
        "no finding",
        "tests/test_object_gaps.py",
    ),
    Claim(
        "context",
        "B is an association, and says nothing about why. Without what all objects share it lies between "
        "{rest_lo:.3f} and {rest_hi:.3f}{adjusted}.",
        "B of the gaps less their mean; B of photos weighted by overlap so that both groups show the other "
        "objects equally often",
        "limits from cross-fit and plug-in of each version",
        "95 % of each alone; weights are taken as known",
        "tests/test_context.py",
        exploratory=True,
    ),
    Claim(
        "gate-closed",
        "Since B cannot be told from noise, nothing is stated about what worlds change; their tables are "
        "exploratory.",
        "none",
        "the test of the first sentence",
        "no finding",
        "tests/test_sentences.py",
    ),
    Claim(
        "B-changed",
        "{what}: B itself {way}, by between {least:.3f} and {most:.3f} (95 %).",
        "the change of B between two worlds of the same photos",
        "limits of the change of B: cross-fit and plug-in of both worlds",
        _WORLDS,
        _HOSTILE + ", 'B reduced', 'B increased', 'change of B'",
    ),
    Claim(
        "beyond-strictness",
        "{what}: the gaps, summed in the direction that they have without it (B_lin), are {way} by {size} than "
        "in a model that is as strict for every class{further}.",
        "B_lin of the world minus B_lin of the base world at each class's false-positive rate in the world",
        "limits of B_lin, with the error of the matched thresholds",
        _WORLDS,
        _HOSTILE + ", 'beyond class thresholds'",
    ),
    Claim(
        "beyond-placebo",
        "{what}: at equal strictness, B_lin is {way} by {size} than under this placebo.",
        "beyond-strictness of the world minus that of its placebo, on photos that have both",
        "limits of the difference",
        _WORLDS,
        _HOSTILE + ", 'beyond placebo'",
    ),
    Claim(
        "levelling-down",
        "{what}: the gaps close in part because the group with fewer false positives gets more of them "
        "({before:.3f} before, {after:.3f} after).",
        "mean false-positive rate of the group with fewer of them, object by object",
        "limits of its change exclude 0 from below, and the gap is smaller",
        "95 % of each world alone",
        "tests/test_error_levels.py",
        exploratory=True,
    ),
    Claim(
        "worlds-not-shown",
        "For these worlds no change survives correction over the {n} statements on worlds: {which}. The data "
        "leave open a change of B_lin beyond strictness of at most {most}.",
        "as beyond-strictness",
        "equivalence: the largest absolute change inside its 90 % limits (two one-sided tests at 5 %)",
        "each bound holds in 95 %",
        _HOSTILE + ", 'B_lin beyond class thresholds'",
    ),
    Claim(
        "interaction",
        "Image and text {how}: their interaction on B_lin is {size}, at unmatched strictness.",
        "B_lin(both) - B_lin(image) - B_lin(text) + B_lin(null), the additive interaction",
        "limits of the combination of four worlds",
        "95 % of it alone",
        "docs/statistics.md",
        exploratory=True,
    ),
    *racing_claims.CLAIMS,
)  # fmt: skip

claim = partial(claim_named, CLAIMS)
"""The claim of a name."""
