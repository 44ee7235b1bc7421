"""What columns of the tables mean, in one line with their unit; docs/report.md says more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vlbias.report.columns import headed

__all__ = ["DEFINITIONS", "defined", "explained"]

_RATES = "sum of rates over objects"
_P = "probability of data like these or further off if there were nothing; 0 to 1"

DEFINITIONS = {
    "B_plugin": f"the sum over objects of the absolute gap between groups; inflated by noise; {_RATES}",
    "B_crossfit": f"B without the part that noise inflates; on average at most B; {_RATES}",
    "B_lo": f"lower 95 % limit of B; {_RATES}",
    "B_hi": f"upper 95 % limit of B; {_RATES}",
    "B_lin": f"gaps summed in the direction that they have without the change; {_RATES}",
    "B_change": f"change of the cross-fit B from the model as it is; {_RATES}",
    "floor": f"what sampling error alone gives for B, plug-in, on average; {_RATES}",
    "within_floor": "whether B, plug-in, is no larger than 95 % of what no gap at all would give",
    "signed": f"gaps with their sign, first group minus second; {_RATES}",
    "p": _P,
    "p_adjusted": "p after correction over all rows that are tested together; 0 to 1",
    "p_bh": "p after correction that holds the share of false findings; 0 to 1",
    "p_exact": "p of this object alone; 0 to 1",
    "p_holm": "p after correction that holds the chance of any false statement; 0 to 1",
    "p_max_t": "p after correction over all objects; 0 to 1",
    "estimate": "the effect as estimated, in units of the quantity that changes",
    "difference": f"B of the first minus B of the second, cross-fit; {_RATES}",
    "lo": "lower 95 % limit",
    "hi": "upper 95 % limit",
    "se": "standard error",
    "df": "degrees of freedom of the standard error",
    "relative": "the effect as a share of the quantity without it; 'cut' if all passes by construction",
    "n": "photos or samples; a count",
    "n_clusters": "clusters that are drawn whole; a count",
    "n_objects": "objects that enter the sum; a count",
    "photos": "photos; a count",
    "clusters": "clusters that are drawn whole; a count",
    "mean_fpr": "share of photos without an object in which it is seen, mean over objects; 0 to 1",
    "fpr": "share of photos without the object in which it is seen; 0 to 1",
    "fpr_base": "mean false-positive rate before the change; 0 to 1",
    "fpr_world": "mean false-positive rate after the change; 0 to 1",
    "presence_mAP": "mean average precision of finding objects; 0 to 1, more is better",
    "world": "what is done to photo and text",
    "arm": "what is done to photo and text",
    "contrast": "from which world to which",
    "mediator": "the part of the model whose values are exchanged; empty for the whole model",
    "effect": "TE: of the whole change; NIE: through the part; NDE: past it; INT: only by both together",
    "functional": "the quantity that changes",
    "statement": "one of three statements on a world, each of which can hold without the others",
    "said": "the word that survives correction",
    "most": "the largest change in either direction that the data do not exclude; same unit as the estimate",
    "decision": "the word by the limits of the change of B itself",
    "object": "name of the class",
    "gap": "false-positive rate of the first group minus that of the second; -1 to 1",
    "pooled": "the gap, drawn towards 0 by what all objects show; -1 to 1",
    "setting": "the method and what is varied of it",
    "strength": "how much of the method is applied; 0 is none",
    "method": "the mitigation",
    "metric": "the performance that is measured",
    "before": "value without the mitigation",
    "after": "value with the mitigation",
    "change": "value with minus value without",
    "verdict": "the word by the limits",
    "levelling_down": "whether gaps close because the group with fewer errors gets more of them",
    "higher_before": "rate of the group with more false positives, object by object, before; 0 to 1",
    "higher_after": "the same after the change; 0 to 1",
    "lower_before": "rate of the group with fewer false positives, object by object, before; 0 to 1",
    "lower_after": "the same after the change; 0 to 1",
    "rank": "order by B, least first; neighbours need not differ",
    "run": "name of the run",
    "model": "name of the model",
    "check": "what must hold by construction",
    "found": "the largest deviation that was found",
    "allowed": "the deviation that rounding explains",
    "positive": "share of samples with an effect above 0",
    "mean": "mean over samples of the ratio of odds, minus 1; ruled by a few large ratios",
    "median": "median over samples of the ratio of odds, minus 1",
    "geometric": "geometric mean over samples of the ratio of odds, minus 1",
    "log": "mean log ratio of odds",
    "samples": "which samples",
    "step": "what was asked of a photo or text",
    "left": "how many are left after it; a count",
    "lost": "how many it took; a count",
}
"""Column of a tidy table to what it is, with its unit."""


def defined(column: str) -> str:
    """What a column is; empty where nothing is written down."""
    return DEFINITIONS.get(column, "")


def explained(columns: Iterable[object]) -> Iterator[tuple[str, str]]:
    """Head on the page and meaning of those columns that have one."""
    for name in map(str, columns):
        if defined(name):
            yield headed(name), defined(name)
