"""What columns of the tables of unlearning mean, in one line with their unit."""

from __future__ import annotations

__all__ = ["MEANINGS"]

MEANINGS = {
    "label": "way of forgetting; before: the model as it is; gold: a model that never saw the facts",
    "seed": "of the training",
    "seeds": "runs of the method; a count",
    "forget": "share of facts to forget that are answered, over all wordings; 0 to 1",
    "retain": "share of facts to retain that are answered, over all wordings; 0 to 1",
    "aggregate": "harmonic mean of 1 - forget and retain; 0 to 1",
    "utility": "share of prompts of general use that are answered; 0 to 1",
    "membership_auc": "how far the loss tells facts to forget from facts never seen; 0.5 is not at all, and "
    "below it they are avoided",
    "membership": "1 - 2 |membership AUC - 0.5|; 1 is no leak",
    "score": "mean of aggregate, utility and 1 - 2 |AUC - 0.5|, of what was measured; 0 to 1",
    "score_lowest": "lowest score of a seed",
    "score_highest": "highest score of a seed",
    "divergence": "KL divergence from gold behind the prompts to forget; nats",
    "relearned": "share of half of the forgotten subjects known again after training on the others; 0 to 1",
    "steps": "steps of training",
    "stopped": "why training ended",
    "reached": "whether no more facts to forget were answered than the study's level",
    "relative": "norm of the change over that of the weights it touches",
    "parameters": "numbers that were trained; a count",
    "seconds": "time of training; seconds",
    "site": "block of weights",
    "known_again": "share of facts to forget answered with this block as it was; 0 to 1",
    "share": "share of what was forgotten that this block alone brings back",
    "first": "first method",
    "second": "second method",
    "first_only": "facts to retain that the first keeps and the second lost; a count",
    "second_only": "facts to retain that the second keeps and the first lost; a count",
}
