"""What a page may say of comprehension, and what stands behind each sentence."""

from __future__ import annotations

from vlbias.report.claims import Claim

__all__ = ["CLAIMS"]

_LIMITS = "limits of the studentised mean over clusters of items"
_LEVEL = "95 % coverage; no family, one contrast a run"
_SIMULATED = "tests/test_edit_effects.py: closed forms of a mixture, coverage over 500 replicates"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "comprehension-follows-meaning",
        "{subject} changes its answer more often after an edit of the meaning than after one of the form "
        "alone: by {estimate:+.3f} [{lo:+.3f}, {hi:+.3f}] over all {items} items.",
        "unconditioned contrast: share of deep edits that change the answer, less that of surface edits, all "
        "items",
        f"{_LIMITS} are above 0, and edits of both arms are of equal size",
        _LEVEL,
        _SIMULATED,
    ),
    Claim(
        "comprehension-not-shown",
        "Over all {items} items, {subject} does not change its answer more often after an edit of the "
        "meaning than after one of the form alone, as far as can be told: {estimate:+.3f} [{lo:+.3f}, "
        "{hi:+.3f}].",
        "unconditioned contrast",
        f"{_LIMITS} hold 0 or are below it",
        _LEVEL,
        _SIMULATED,
    ),
    Claim(
        "comprehension-sizes-differ",
        "Edits of the two arms are not of equal size: {deep:.2f} {unit} in deep edits, {surface:.2f} "
        "in surface edits. The contrast, {estimate:+.3f} [{lo:+.3f}, {hi:+.3f}] over {items} items, may then "
        "be due to size alone.",
        "difference of the mean edit sizes of the arms",
        "Student's limits over items exclude 0, and the difference is above 5 % of the mean size",
        "5 %",
        "tests/test_edit_effects.py: a subject that goes by form alone reads .30 with unequal edits",
    ),
    Claim(
        "comprehension-strengths-differ",
        "Edits of the two arms are of equal area and not of equal strength: deep edits change the image as "
        "much as {deep:.0f} pixels that turn from black to white, surface edits as much as {surface:.0f}. "
        "{consequence}",
        "difference of the mean strengths of the arms: sum of what pixels differ by",
        "Student's limits over items exclude 0, and the difference is above 5 % of the mean strength",
        "5 %",
        "tests/test_comprehension_images.py",
    ),
    Claim(
        "comprehension-published",
        "As published, of the {items} items answered correctly: ADCE {adce:+.3f} [{adce_lo:+.3f}, "
        "{adce_hi:+.3f}], AICE {aice:.3f} [{aice_lo:.3f}, {aice_hi:.3f}]. Both are taken of correct answers "
        "only, among which items answered from their meaning are over-represented: ADCE is biased upwards by "
        "that.",
        "ADCE and AICE of Han et al.: share of deep, or surface, edits after which the answer is not the "
        "right one of the original, of items answered correctly",
        _LIMITS,
        _LEVEL,
        _SIMULATED,
    ),
    Claim(
        "comprehension-necessity",
        "If the effect of meaning is monotone, it is necessary for a correct answer with probability {pn:.2f} "
        "[{pn_lo:.2f}, {pn_hi:.2f}] and sufficient with {ps:.2f} [{ps_lo:.2f}, {ps_hi:.2f}].",
        "PN = ADCE / TE and PS = ADCE / (1 - AICE), of items answered correctly",
        _LIMITS,
        "95 % coverage each, given the assumption, which is not tested",
        _SIMULATED,
        exploratory=True,
    ),
    Claim(
        "comprehension-accuracy",
        "{subject} answers {accuracy:.1%} [{lo:.1%}, {hi:.1%}] of {items} items correctly{chance}.",
        "share of originals answered correctly",
        _LIMITS,
        "95 % coverage",
        _SIMULATED,
    ),
    Claim(
        "comprehension-no-answer",
        "{count} of {total} texts have no answer ({reasons}); they are left out, and not counted as changed.",
        "number of texts without an answer",
        "a count",
        "none",
        "tests/test_comprehension_subjects.py",
    ),
    Claim(
        "comprehension-mediators",
        "{count} of {total} mediators carry more of the change after a deep edit than after a surface edit; "
        "the most, {mediator}: {difference:+.3f} on the log-odds of the right answer, in {items} items.",
        "natural indirect effect after a deep edit less that after a surface edit of the same item, each "
        "towards the item's total change",
        "sign flips of items, the largest mean over all mediators",
        "family-wise 5 % over the mediators of the study",
        "tests/test_comprehension_run.py; vlbias.analysis.sign_flips",
    ),
    Claim(
        "comprehension-no-mediator",
        "None of {total} mediators is shown to carry more of the change after a deep edit than after a "
        "surface edit, in {items} items.",
        "as comprehension-mediators",
        "sign flips of items, the largest mean over all mediators",
        "an absence is not tested",
        "tests/test_comprehension_run.py",
    ),
    Claim(
        "comprehension-mediators-not-measured",
        "No mediator is measured: in none of the items have the original and its edits as many tokens.",
        "number of items whose texts have as many tokens",
        "a count",
        "none",
        "tests/test_comprehension_run.py",
    ),
    Claim(
        "comprehension-random-weights",
        "The weights of {subject} are random: its numbers are the baseline of a subject that knows nothing.",
        "none",
        "the study asks for random weights",
        "none",
        "tests/test_comprehension_run.py",
    ),
)
"""All claims of this kind of study."""
