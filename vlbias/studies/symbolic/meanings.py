"""What columns of the tables of symbolic mechanisms mean, in one line with their unit."""

from __future__ import annotations

__all__ = ["MEANINGS"]

_LIMIT = "95 % limit over pairs, of accuracy over prompts"

MEANINGS = {
    "type": "what heads carry: the rule from third items, the rule at the last token, or the token",
    "shots": "examples before the query; a count",
    "rule": "what the third item repeats: the first item (ABA) or the second (ABB)",
    "prompts": "prompts; a count",
    "accuracy": "share of prompts whose most probable next token is the answer; 0 to 1",
    "above_rival": "share of prompts in which the answer is more probable than the query's other item; 0 to 1",
    "lo": f"lower {_LIMIT}",
    "hi": f"upper {_LIMIT}",
    "pairs": "kind of pairs, or how many there are",
    "drawn": "pairs drawn; a count",
    "first unsolved": "pairs whose first prompt is not answered; a count",
    "second unsolved": "pairs whose second prompt is not answered; a count",
    "solved": "pairs both of whose prompts are answered; a count",
    "used": "solved pairs that scores are of; a count",
    "gap": "mean difference of logits before anything is exchanged: the other item's less the answer's",
    "threshold": "score that the largest head passes in 5 % of random signs; logits",
    "heads": "heads of the model, or how many are silenced; a count",
    "significant": "above the threshold",
    "found": "significant, and above the floor",
    "layer": "number of the layer from 0; of a type, the mean over heads found, weighted by score",
    "head": "number of the head in its layer, from 0",
    "first_layer": "lowest layer of a head found",
    "last_layer": "highest layer of a head found",
    "share_of_positive": "of the sum of all positive scores, the part of heads found; 0 to 1",
    "of_other_types": "heads found that are found for another type too; a count",
    "score": "how far the difference of logits moves when the head's output is the other prompt's; logits",
    "share": "score over the size of the gap; 2 would reverse it",
    "score_ABA": "score where the prompt that gives has the rule ABA; logits",
    "score_ABB": "score where the prompt that gives has the rule ABB; logits",
    "score_other_pairs": "score in the other kind of pairs, where a pure head of the type has 0; logits",
    "odds_ratio_minus_1": "the score as a ratio of odds, minus 1",
    "above_floor": "whether the score is the study's least share of the gap or more",
    "p": "probability of a largest score like this or above, over all heads, if signs were random; 0 to 1",
    "earlier": "type whose layer is subtracted",
    "later": "type from whose layer it is subtracted",
    "estimate": "difference of the score-weighted layers",
    "silenced": "which heads give nothing: those of highest score, others of the same layers, random ones",
    "draws": "random sets of heads; a count",
    "probability": "mean probability of the answer; 0 to 1",
    "target": "from which token to which",
    "attention": "mean share of attention; 0 to 1",
    "abstract": "correlation of the similarity of outputs with having the same rule; -1 to 1",
    "token": "correlation of the similarity of outputs with having the same tokens; -1 to 1",
}
"""Column to what it is."""
