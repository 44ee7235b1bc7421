"""What a page of editing can say."""

from __future__ import annotations

from vlbias.report.claims import Claim

__all__ = ["CLAIMS"]

_EVIDENCE = (
    "tests/test_editing_run.py; tests/test_linear_memories.py: memories whose interference is known"
)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "editing-keeps-more",
        "After {edits} edits ({protocol}), {first} keeps more facts that were never edited than {second}: "
        "{first_only} that the other lost, against {second_only}.",
        "unedited facts still answered at the last checkpoint, of those answered before the first edit",
        "exact McNemar test",
        "5 % over all pairs of methods and protocols (Holm)",
        _EVIDENCE,
    ),
    Claim(
        "editing-no-difference",
        "After {edits} edits, no method is shown to keep more facts that were never edited than another.",
        "unedited facts still answered at the last checkpoint, of those answered before the first edit",
        "exact McNemar tests, Holm",
        "an absence is not tested",
        _EVIDENCE,
    ),
    Claim(
        "editing-score",
        "{label} ({protocol}): after {edits} edits the score S is {score:.3f}; {edit_success:.0%} of edits "
        "took, {edited_right:.0%} of edited and {unedited_right:.0%} of unedited facts are as they should be, "
        "utility is {utility}, and the weights have moved by {drift:.0%} of their norm.",
        "harmonic mean of edit success, generalisation, locality, edited and unedited facts right",
        "none: shares as measured",
        "none",
        _EVIDENCE,
        exploratory=True,
    ),
    Claim(
        "editing-flash",
        "{label} ({protocol}): {flashes} of {edits} edits cost more than ten times the median of those before.",
        "norm of the change over that of the weight",
        "a count",
        "none",
        "tests/test_linear_memories.py: the cost grows as two keys become orthogonal",
        exploratory=True,
    ),
)
"""All claims of this kind of study."""
