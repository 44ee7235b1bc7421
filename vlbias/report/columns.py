"""How columns of the tidy tables are called on the page; docs/report.md says what each is."""

from __future__ import annotations

__all__ = ["HEADS", "headed"]

HEADS = {
    "B_change": "change of B, cross-fit",
    "B_crossfit": "B, cross-fit",
    "B_hi": "B at most",
    "B_lo": "B at least",
    "B_plugin": "B, plug-in",
    "NIE_plus_NDE": "NIE + NDE",
    "area_B_crossfit": "area under B, cross-fit",
    "area_B_plugin": "area under B, plug-in",
    "arm": "world",
    "floor": "noise floor",
    "fpr": "FPR",
    "fpr_base": "FPR without",
    "fpr_world": "FPR with",
    "functional": "change of",
    "hi": "upper limit",
    "higher_after": "group with more, after",
    "higher_before": "group with more, before",
    "higher_hi": "group with more, change at most",
    "higher_lo": "group with more, change at least",
    "joint_log": "joint, log",
    "largest_control": "largest of controls",
    "largest_missed": "largest missed",
    "levelling_down": "levelling down",
    "lo": "lower limit",
    "lower_after": "group with fewer, after",
    "lower_before": "group with fewer, before",
    "lower_hi": "group with fewer, change at most",
    "lower_lo": "group with fewer, change at least",
    "lower_p": "p, group with fewer",
    "mean_fpr": "mean FPR",
    "most": "largest left open",
    "n_objects": "objects",
    "name": "condition",
    "offset_hi": "offset at most",
    "offset_lo": "offset at least",
    "p_adjusted": "p, adjusted",
    "p_bh": "p, BH",
    "p_exact": "p, exact",
    "p_holm": "p, Holm",
    "p_max_t": "p, max-T",
    "pearson_controls": "pearson, controls",
    "pooled": "gap, pooled",
    "pooled_hi": "gap, pooled, at most",
    "pooled_lo": "gap, pooled, at least",
    "presence_mAP": "presence mAP",
    "r_TE_both": "r of TE with NIE + NDE",
    "r_TE_parts": "r of TE with the sum of parts",
    "signed": "sum of signed gaps",
    "smallest_chosen": "smallest of chosen",
    "spearman_controls": "spearman, controls",
    "sum_of_parts": "sum of parts",
    "sum_of_parts_log": "sum of parts, log",
    "synergy_log": "synergy, log",
    "within_floor": "within the floor",
}
HEADS |= {
    f"{name}_{side}": f"{label}, {limit}"
    for name, label in (
        ("AP", "AP"),
        ("AP50", "AP50"),
        ("AP75", "AP75"),
        ("AR", "AR"),
        ("AP_gap", "AP gap"),
        ("AP_gap_at_point", "AP gap at the point"),
    )
    for side, limit in (("lo", "lower limit"), ("hi", "upper limit"))
}
HEADS |= {
    "AP_gap": "AP gap",
    "AP_gap_at_point": "AP gap at the point",
    "AP_gap_p": "p of the AP gap",
    "AP_gap_p_at_point": "p of the AP gap at the point",
    "AP_gap_shuffled": "AP gap, shuffled",
    "AP_gap_shuffled_at_point": "AP gap at the point, shuffled",
    "AP_person": "AP of person",
}
HEADS |= {
    f"{effect}_{part}": head.format(effect)
    for effect in ("ACME", "TE")
    for part, head in (
        ("se", "SE of {}"), ("lo", "{} at least"), ("hi", "{} at most"), ("p", "p of {}"),
    )
}  # fmt: skip
HEADS |= {
    "above_floor": "above the floor",
    "above_rival": "above the rival",
    "first_layer": "first layer",
    "last_layer": "last layer",
    "odds_ratio_minus_1": "odds ratio - 1",
    "of_other_types": "of other types too",
    "score_other_pairs": "score, other pairs",
    "share_of_positive": "share of positive scores",
}
HEADS |= {
    "ACME_unadjusted": "ACME, unadjusted",
    "found_unadjusted": "found, unadjusted",
    "left_out": "left out",
    "n_mediator": "n, mediator",
    "n_outcome": "n, outcome",
    "robustness_limit": "robustness of the limit",
    "why_not": "why not",
}
"""Column of the tables to its head on the page; those not named here are called the same there."""


def headed(name: str) -> str:
    """What a column, or a quantity named like one, is called on the page."""
    if name in HEADS or not name.startswith("AP_"):
        return HEADS.get(name, name)
    # the groups are the study's
    return f"AP of {name.removeprefix('AP_').replace('_at_point', ' at the point')}"
