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
)
"""All claims of this kind of study."""
