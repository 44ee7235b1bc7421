"""What a page of unlearning can say."""

from __future__ import annotations

from vlbias.report.claims import Claim

__all__ = ["CLAIMS"]

_EVIDENCE = "tests/test_unlearning_run.py"
_RETAINED = (
    "facts to retain still answered, of methods that both forgot down to the level of the study"
)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "unlearning-keeps-more",
        "At matched forgetting (no more than {level:.0%} of the facts still answered), {first} keeps more "
        "facts to retain than {second}: {first_only} that the other lost, against {second_only} (seed {seed}).",
        _RETAINED,
        "exact McNemar test",
        "5 % over all pairs of methods and seeds (Holm)",
        _EVIDENCE,
    ),
    Claim(
        "unlearning-no-difference",
        "At matched forgetting, no method is shown to keep more facts to retain than another.",
        _RETAINED,
        "exact McNemar tests, Holm",
        "an absence is not tested",
        _EVIDENCE,
    ),
    Claim(
        "unlearning-not-matched",
        "Fewer than two methods forgot down to the level of the study: nothing is compared at matched "
        "forgetting.",
        "number of methods that reached the level",
        "a count",
        "none",
        _EVIDENCE,
    ),
    Claim(
        "unlearning-score",
        "{label}: {forget:.0%} of the facts to forget and {retain:.0%} of those to retain are answered; the "
        "score of the task is {score:.3f}. After training on half of the forgotten subjects, {relearned} of "
        "the other half is known again; the membership AUC is {membership}, the divergence from a model that "
        "never saw the facts {divergence}.",
        "shares of facts answered in all wordings; mean of aggregate, utility and 1 - 2 |AUC - 0.5|",
        "none: means over seeds",
        "none",
        _EVIDENCE,
        exploratory=True,
    ),
    Claim(
        "unlearning-traced",
        "Before training, {part} of layer {layer} at the {role} gives back more of the effect of the facts to "
        "forget than of those to retain: {difference:+.2f} of the total effect, limits for all sites together "
        "{lo:+.2f} to {hi:+.2f}. Whether training there pays is another question, which the methods answer.",
        "difference of shares of the total effect between facts to forget and facts to retain",
        "bootstrap over subjects, largest |t| over all sites",
        "5 % over all sites",
        _EVIDENCE,
    ),
    Claim(
        "unlearning-traced-nowhere",
        "Before training, no site is shown to give back more of the effect of the facts to forget than of "
        "those to retain.",
        "difference of shares of the total effect between facts to forget and facts to retain",
        "bootstrap over subjects, largest |t| over all sites",
        "an absence is not tested",
        _EVIDENCE,
    ),
    Claim(
        "unlearning-block",
        "Of the blocks that {label} trained, {site} carries most: with this block alone as it was, {share:.0%} "
        "of what was forgotten is known again (mean over seeds).",
        "share of the forgetting that one block brings back",
        "none: means over seeds",
        "none",
        _EVIDENCE,
        exploratory=True,
    ),
    Claim(
        "unlearning-diverged",
        "{label} (seed {seed}) {stopped}: its numbers are those of that check.",
        "why training ended",
        "a count",
        "none",
        _EVIDENCE,
    ),
)
"""All claims of this kind of study."""
