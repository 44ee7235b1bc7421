"""How numbers on photos are to be read and worded: limits, wording, glossary."""

from __future__ import annotations

from vlbias.report.blocks import Guidance
from vlbias.report.funnel import are_given
from vlbias.store.run_folder import Run

__all__ = ["GIVEN_LIMIT", "PERCEIVED_LIMIT", "photo_guidance"]

PERCEIVED_LIMIT = (
    "Groups are perceived gender: the word choices of captioners, binary where they are. They say "
    "nothing about anyone's identity, and captioners read gender from context too."
)

GIVEN_LIMIT = (
    "Groups are those that came with the data; no captions were read for them. What they mean, and who "
    "said so, the data must tell."
)

LIMITS = (
    "Masking a person changes more than gender: pose, edges, worn and held objects. Read an effect "
    "beside the effect of its placebo, and photos without a placebo region are not in that comparison.",
    "A mediator that cuts its encoder (the whole encoder, a residual stream) carries the total effect "
    "by construction. It is marked 'cut', and no share is given.",
    "Direct and indirect effects need not add up: TE = NDE + NIE + INT, and the sum of absolute gaps "
    "creates interaction of its own when a gap changes sign.",
    "B sums absolute values, so its plug-in is never 0: read it only beside its noise floor. Objects "
    "without enough photos in both groups are 'insufficient', which is not 0.",
)

PERCEIVED_WORDING = (
    (
        "photos whose captioners used feminine words; perceived gender",
        "women; gender; sex",
        "The label is the word choice of people who saw a photo. Nobody in it was asked.",
    ),
    (
        "persons who are described by neither list of words are not in these numbers",
        "both genders; everyone",
        "Two groups are what captions give, not what people are. Own photos can have any number.",
    ),
)
"""What to write of photos whose groups were read from captions, what not to write, and why."""

WORDING = (
    (
        "the model reports handbags that are not there more often on photos described with feminine words",
        "the model thinks that women carry handbags; the model is sexist",
        "What is measured is a difference of error rates, on these photos, at this operating point.",
    ),
    (
        "no difference could be told from noise with this many photos; one below the smallest detectable "
        "B would not have been seen",
        "the model is unbiased; the bias is not significant, so there is none",
        "vlbias power says what so many photos can show.",
    ),
    (
        "blurring the persons lowers B by more than blurring as many other pixels",
        "gender causes; removing gender",
        "The intervention is a blur or a word. It takes away pose, clothes and edges too.",
    ),
    (
        "so much of the effect runs through this head, replaced on its own",
        "the bias is stored in this head",
        "Indirect effects overlap and do not add up. Others can take over what one no longer does.",
    ),
)
"""The same for all photos."""

GLOSSARY = (
    ("B, plug-in", "Sum over objects of the absolute gap in false-positive rate between the groups. "
     "Noise alone makes it positive."),
    ("noise floor", "Mean of the plug-in B without any gap, from the sampling errors of the rates."),
    ("FPR", "False-positive rate: of the photos without an object, the share in which the model sees it."),
    ("B, cross-fit", "Signs of the gaps from one half of the photos, gaps from the other half: near 0 where "
     "there is no bias; gaps below two standard errors count less."),
    ("B at least, at most", "95 % limits of B itself."),
    ("sum of signed gaps", "Gaps with their signs: a drift in one direction, which B hides."),
    ("within the floor", "B, plug-in, is no larger than 95 % of what sampling error alone gives."),
    ("presence mAP", "Mean over objects of the average precision with which photos are sorted by whether the "
     "object is there."),
    ("B_lin", "The gaps summed in the direction that they have without intervention. Linear, so that "
     "parts of it can be attributed; can be negative."),
    ("score_gap_lin", "The same for mean scores of photos without the object; no threshold."),
    ("AUC gap", "How well scores tell photos with the object from photos without it, first group minus second; "
     "no threshold."),
    ("world, contrast", "Photo and text as they are (null) or with something taken out. A contrast compares "
     "two worlds of the same photo."),
    ("TE, NDE, NIE, INT", "Total effect of a contrast; the part past a mediator; the part through it alone; "
     "what neither explains alone. TE = NDE + NIE + INT."),
    ("cut", "A mediator that everything passes: its indirect effect is the total effect by construction."),
    ("placebo", "As many pixels away from persons, or as many words that tell no gender."),
    ("attributable", "Change of a world minus the change that a moved threshold brings to the same mean "
     "false-positive rate. Of a mitigation also minus what its placebo changes beyond a moved threshold."),
    ("over threshold", "Change of a mitigation minus the change that a moved threshold brings."),
    ("relative", "An effect divided by the same quantity in the world without the intervention."),
    ("n, clusters", "Photos that a number stands on, and what is resampled together."),
    ("p, adjusted; p, max-T", "Corrected for all mediators of a contrast, or for all objects: the chance of "
     "one false finding or more."),
    ("p, BH", "Corrected so that of all findings a share is false (Benjamini and Hochberg)."),
    ("p, exact", "Test of one object, not corrected."),
)  # fmt: skip
"""Words of the page and what they mean."""


def photo_guidance(run: Run) -> Guidance:
    """How the numbers of a run on photos are to be read; it matters who gave the groups."""
    if are_given(run):
        return Guidance((GIVEN_LIMIT, *LIMITS), WORDING, GLOSSARY)
    return Guidance((PERCEIVED_LIMIT, *LIMITS), (*PERCEIVED_WORDING, *WORDING), GLOSSARY)
