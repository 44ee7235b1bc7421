"""What columns of the tables of causal tracing mean, in one line with their unit."""

from __future__ import annotations

__all__ = ["MEANINGS"]

_SHARE = "share of the total effect that restoring gives back; 1 is all of it"

MEANINGS = {
    "group": "set of facts",
    "subject": "what the fact is about; facts of a subject are resampled together",
    "facts": "facts; a count",
    "known": "facts whose whole answer the model says, or whether it does",
    "traced": "known facts with a corrupted world; a count",
    "subjects": "subjects of these; a count",
    "left_out": "why a known fact was not traced",
    "draws": "corrupted worlds of a fact; a count",
    "clean": "probability of the answer; 0 to 1",
    "corrupted": "probability of the answer with the subject corrupted, mean over draws; 0 to 1",
    "total": "clean less corrupted: the total effect; -1 to 1",
    "total_lo": "lower 95 % limit of the total effect, over subjects",
    "total_hi": "upper 95 % limit of the total effect, over subjects",
    "part": "what is restored: the residual stream behind a block, or what attention or MLP adds",
    "layer": "number of the block, from 0",
    "role": "tokens at which it is restored",
    "n": "facts that have such tokens; a count",
    "effect": "probability restored less corrupted, mean over facts; -1 to 1",
    "share": _SHARE,
    "first": f"in the first group: {_SHARE}",
    "second": f"in the second group: {_SHARE}",
    "difference": "share in the first group less that in the second",
    "lo": "lower 95 % limit; of differences for all sites together",
    "hi": "upper 95 % limit; of differences for all sites together",
    "p_adjusted": "p of the difference, adjusted for all sites; 0 to 1",
}
