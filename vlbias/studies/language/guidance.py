"""How the numbers of a page about texts are to be read and worded."""

from __future__ import annotations

from vlbias.report.blocks import Guidance

__all__ = ["GUIDANCE"]

_LIMITS = (
    "Gender here is a matter of words: pronouns, and stereotype scores or labour statistics of English "
    "occupations. Most sets ask for two pronouns only. Nothing is said about any person.",
    "Only what the prompts ask is measured: a few hand-written frames, and one word or one clause behind "
    "them. Another frame can give another effect; compare templates before wording a result.",
    "The effect is a mean of ratios of odds, ruled by few large ones. Read median and geometric mean "
    "beside it. Filtered samples were chosen by their total effect: read them beside all samples and "
    "beside random weights, which show a filtered effect too.",
    "'man' or 'woman' in the place of a profession changes more than gender: frequency, age, and that it is "
    "no profession. Read set-gender beside the contrast with 'person'.",
    "Effects of components overlap and back each other up: a sum of single effects is not the effect of "
    "the components together, and TE is not NDE + NIE. Only the joint effect says what a set does.",
    "Attention weights as mediators leave out what values and MLPs carry. A mediator that cuts the model (the "
    "residual stream, the embedding of all that differs) carries the total effect by construction.",
    "Samples whose worlds have different numbers of tokens have a total effect but no mediators, unless "
    "the study says how to align them; the mediators' numbers are those of the others.",
)

_WORDING = (
    (
        'after these prompts "he" has higher odds than "she" where the occupation is stereotyped so',
        "the model believes that nurses are women; the model is sexist",
        "What is measured is the odds of a few words behind a few hand-written frames.",
    ),
    (
        "no effect could be told from none with these prompts",
        "the model is unbiased; the effect is not significant, so there is none",
        "Other frames and other words can give another effect.",
    ),
    (
        "so much of the effect runs through this head, replaced on its own",
        "the bias is stored in this head",
        "Effects of components overlap. Others can take over what one no longer does.",
    ),
    (
        "stereotype scores and labour statistics of occupations",
        "what women and men do; both genders",
        "Scores are of words, in English, at one time. Two pronouns are not everyone.",
    ),
)

_GLOSSARY = (
    ("TE, NDE, NIE; NIE*, NDE*", "Total effect on the odds of the candidates, as a ratio minus 1; the part "
     "past a mediator; the part through it alone; the same two in the other world."),
    ("mean, median, geometric, log, difference", "Ways to sum the samples' ratios up: of the ratios minus 1, "
     "their geometric mean minus 1, the mean log ratio, the mean difference of odds."),
    ("positive", "Share of samples whose effect is above 0."),
    ("aligned, kept, misaligned", "Samples that move towards the stereotype; those of them that are not "
     "filtered out; those whose worlds have different numbers of tokens."),
    ("n, clusters", "Samples that a number stands on, and what is resampled together."),
    ("p, adjusted", "Corrected so that of all findings a share is false (Benjamini and Hochberg)."),
    ("joint, sum of parts, synergy", "Indirect effect of several components replaced together; the sum of what "
     "each does alone; the first minus the second."),
    ("residual", "TE - NDE - NIE."),
)  # fmt: skip

GUIDANCE = Guidance(_LIMITS, _WORDING, _GLOSSARY)
"""Limits, wording and glossary of every page about texts."""
