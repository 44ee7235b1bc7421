"""What columns of the tables of comprehension mean, in one line with their unit."""

from __future__ import annotations

__all__ = ["MEANINGS"]

MEANINGS = {
    "quantity": "what is estimated; see the glossary",
    "estimate": "a share, or a difference of shares; -1 to 1",
    "lo": "lower 95 % limit over clusters of items",
    "hi": "upper 95 % limit over clusters of items",
    "items": "items that the row is of; a count",
    "clusters": "items, or groups of them that are drawn whole; a count",
    "measure": "size: words or pixels; strength: sum of what pixels differ by",
    "deep": "mean over items, of deep edits",
    "surface": "mean over items, of surface edits",
    "difference": "deep less surface",
    "matched": "whether limits of the difference hold 0, or it is below 5 % of the mean",
    "world": "the original, a deep edit or a surface edit",
    "variant": "number of the edit in its arm",
    "size": "words, or pixels, that the edit changes",
    "changed": "share of answers that are not that of the original; 0 to 1",
    "status": "ok, or why there is no answer",
    "answers": "answers; a count",
    "gold": "right answer of the original",
    "answer": "what was answered",
    "mediator": "the part of the model whose values are exchanged",
    "threshold": "difference that the largest mediator passes in 5 % of random signs",
    "p": "probability of a largest difference like this or above, if signs were random; 0 to 1",
    "significant": "above the threshold",
    "subject": "who is asked, and what",
    "sizes matched": "whether edits of both arms are of equal size",
}
"""Column to what it is."""
