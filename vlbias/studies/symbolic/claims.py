"""What a page may say of symbolic mechanisms, and what stands behind each sentence."""

from __future__ import annotations

from vlbias.report.claims import Claim

__all__ = ["CLAIMS"]

_SIGNS = (
    "sign flips of pairs, the largest mean over all heads; and the floor, a share of the logit gap"
)
_FAMILY = "family-wise 5 % over all heads of one type"
_EVIDENCE = (
    "tests/test_symbolic_wired.py: exactly the wired heads; tests/test_symbolic_nets.py: trained nets with "
    "and without the circuit"
)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "symbolic-heads-found",
        "In {model}, {abstraction} of {heads} heads are found to carry the abstract rule from third items "
        "(abstraction), {induction} to carry it at the last token (induction), and {retrieval} to carry the "
        "token that is answered (retrieval); each moves the logit difference by {floor:.0%} of the gap or "
        "more.",
        "mean score s(m) of a head: indirect effect on the difference of two logits, in solved pairs",
        _SIGNS,
        _FAMILY,
        _EVIDENCE,
    ),
    Claim(
        "symbolic-no-head-found",
        "No head of {model} is found for {types}. That does not say that the rule is not used: it may pass "
        "other tokens or branches, as the map of layers and tokens shows.",
        "mean score s(m) of each head at the tokens of the type",
        _SIGNS,
        "an absence is not tested: a head below the floor may still have an effect",
        _EVIDENCE,
    ),
    Claim(
        "symbolic-below-floor",
        "{count} heads are significant but move less than {floor:.0%} of the logit gap; they are not counted.",
        "mean score s(m) of a head",
        "sign flips of pairs, the largest mean over all heads",
        _FAMILY,
        "tests/test_symbolic_nets.py: a trained net with significant heads of a score of 0.01",
    ),
    Claim(
        "symbolic-layers-in-order",
        "Weighted by their scores, the layers of the heads found stand in the published order: {layers}.",
        "score-weighted mean layer of the heads found",
        "percentile limits over pairs of both differences of neighbouring types exclude 0",
        "5 % for each difference, given the heads that were found",
        "tests/test_symbolic_nets.py: five trained nets",
    ),
    Claim(
        "symbolic-layers-not-in-order",
        "Weighted by their scores, the layers of the heads found are {layers}; the published order is not "
        "shown.",
        "score-weighted mean layer of the heads found",
        "percentile limits over pairs of a difference of neighbouring types hold 0, or a type has no head",
        "5 % for each difference, given the heads that were found",
        "tests/test_symbolic_nets.py",
    ),
    Claim(
        "symbolic-rule-at-token",
        "In abstract pairs, the branch and token whose exchange moves the answer most is {branch} of layer "
        "{layer} at {token}: {score:+.2f}, {share:.0%} of the logit gap.",
        "score of the output of a branch of one layer at one token, mean of a few pairs",
        "none: the largest of the map",
        "none",
        "tests/test_symbolic_nets.py: a net without the circuit, whose rule sits at the query's items",
        exploratory=True,
    ),
    Claim(
        "symbolic-ablation",
        "With the {heads} heads of highest {type} score silenced, {top:.0%} of fresh solved prompts are "
        "answered, with as many of the same layers {same:.0%}, with random ones {random:.0%}.",
        "share of fresh solved prompts whose answer is the most probable next token",
        "none: shares side by side",
        "none",
        "tests/test_symbolic_wired.py",
        exploratory=True,
    ),
    Claim(
        "symbolic-accuracy",
        "With {shots} shots, {model} answers {accuracy:.0%} of prompts [{lo:.0%}, {hi:.0%}]; all that "
        "follows is said of the pairs that it solves.",
        "share of prompts of both rules whose answer is the most probable next token",
        "Wilson limits",
        "95 % coverage",
        "statsmodels' proportion_confint",
    ),
    Claim(
        "symbolic-few-pairs",
        "Only {found} of {asked} pairs were found among {drawn} draws of {pairs} pairs of {rule}.",
        "number of solved pairs",
        "a count",
        "none",
        "tests/test_symbolic_run.py",
    ),
    Claim(
        "symbolic-random-weights",
        "The weights of {model} are random: its numbers show the wiring of this study and nothing of a "
        "trained model.",
        "none",
        "the study asks for random weights",
        "none",
        "tests/test_symbolic_run.py",
    ),
)
"""All claims of this kind of study."""
