"""What columns of the tables of texts mean, in one line with their unit."""

from __future__ import annotations

__all__ = ["MEANINGS"]

_RATIO = "ratio of odds, minus 1"

MEANINGS = {
    "contrast": "from which world to which; the odds in the second stand above those in the first",
    "target": "whose odds: of which candidate against the other",
    "samples": "all, or those that the filter of total effects keeps",
    "difference": "mean over samples of the difference of odds",
    "positive": "share of samples with an effect above 0",
    "n": "texts; a count",
    "clusters": "words or sentences, which are drawn whole; a count",
    "loaded": "texts of the study; a count",
    "aligned": "texts that move towards the stereotype; a count",
    "threshold": "total effect from which the filter keeps a text",
    "kept": "texts that the filter keeps; a count",
    "misaligned": "texts whose worlds have different numbers of tokens; a count",
    "mediator": "the part of the model that is given its values of the other world",
    "NIE mean": f"indirect effect in the mean over texts, with 95 % limits; {_RATIO}",
    "NDE": f"direct effect, past the mediator, in the mean; {_RATIO}",
    "NIE*": f"indirect effect in the other world, in the mean; {_RATIO}",
    "NDE*": f"direct effect in the other world, in the mean; {_RATIO}",
    "TE": f"total effect, in the mean; {_RATIO}",
    "NIE": f"indirect effect, in the mean; {_RATIO}",
    "p": "probability of a mean effect like this or further from 0 if there were none; 0 to 1",
    "p_adjusted": "p after correction that holds the share of false findings over all mediators; 0 to 1",
    "parts": "mediators whose own effects are summed up; a count",
    "joint": f"indirect effect of all parts replaced together; {_RATIO}",
    "sum_of_parts": "what the parts do alone, added up",
    "synergy": "the joint effect minus the sum of parts",
    "residual": "TE - NDE - NIE",
    "found": "what was found, in words",
    "holds": "whether it holds",
    "model": "name of the model",
    "parameters": "weights of the model; a count",
    "weights": "trained, or random: the noise floor",
}
"""Column to what it is; `vlbias.report.definitions` has the others."""
