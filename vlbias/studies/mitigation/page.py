"""What a page says of a run of mitigations, block by block."""

from __future__ import annotations

from typing import Any

import pandas as pd

from vlbias.report.blocks import Block, Part, Section, block
from vlbias.store.run_folder import Run
from vlbias.studies.mitigation.figures import maps, pareto_front, shares
from vlbias.studies.mitigation.numbers.tables import MitigationTables, placebos_of
from vlbias.studies.mitigation.stored import Conditions

__all__ = ["ablation_table", "mitigation_section", "summary_table"]


def mitigation_section(run: Run, tables: MitigationTables) -> Section:
    """Headline, readings and blocks of one run for the page's template."""
    parts = (
        Part("What the mitigations leave of the bias", _judged(tables)),
        Part(
            "What they cost",
            [
                block(
                    "Performance at the chosen strengths",
                    _of_margins(tables),
                    table=_retained(tables),
                ),
                block(
                    "Overhead",
                    "Preparing and encoding, median of five rounds, plain and mitigated in turn; on a CPU, "
                    "time of all its cores. Memory is how much higher the peak of the process rises.",
                    table=tables.overhead,
                ),
                block("Fits", "Time to fit, once for all strengths.", table=tables.fits),
            ],
        ),
        Part(
            "Every condition",
            [
                block(
                    "Bias of every condition",
                    "B at each condition's own operating point, beside its noise floor.",
                    table=_of_conditions(tables),
                ),
                *_where(run),
            ],
        ),
    )
    chosen = tables.verdicts[tables.verdicts["chosen"]]
    readings = [_reading(row) for _, row in chosen.iterrows()]
    return Section(_headline(tables), readings, parts, _lacking(run, tables))


def _lacking(run: Run, tables: MitigationTables) -> list[str]:
    """Photos of the reported split that a method or its placebo could not be run on, and why."""
    split = run.manifest["study"]["mitigation"]["report"]
    left_out = Conditions(run).unusable(split)
    # what can be read does not hang on the strength
    known = left_out.merge(tables.conditions, left_on="condition", right_on="name")
    known["who"] = known["role"].map({"placebo": "the placebo of "}).fillna("") + known["method"]
    return [
        f"{why}: {photos} photos of {split}, left out for {' and '.join(rows['who'].unique())}"
        for (why, photos), rows in known.groupby(["why", "photos"], sort=False)
    ]


def _judged(tables: MitigationTables) -> list[Block]:
    """What is left of every mitigation, its price, and every setting and strength."""
    return [
        block(
            "What is left of every mitigation",
            "Each setting at the strength that was chosen on the choosing split. The change is that of "
            "the cross-fit B, the sum of gaps of the false-positive rate, gaps of unsure sign counting "
            "less. Against every condition stands the model as it is with its "
            "thresholds moved to the same mean false-positive rate; against every mitigation its "
            "placebo. Limits are 95 %, paired over photos.",
            table=summary_table(tables.verdicts),
            figure=shares(tables.verdicts),
        ),
        block(
            "Bias against performance",
            "A line is a setting over its strengths, hollow marks are its placebos, the star is the model "
            "as it is, on the same photos as each of them: a placebo cannot be run on every photo. Left the "
            "split on which strengths were chosen (rings: its Pareto front), right the split that is "
            "reported. Thresholds are calibrated for every condition on the left split.",
            figure=pareto_front(_panels(tables), tables.metric),
        ),
        block(
            "Every method, strength and site",
            "Shares are of the cross-fit B without mitigation on the photos that a setting and its placebo "
            "could both "
            "be run on. Only chosen strengths are a test; the others are shown so that nothing is hidden.",
            table=ablation_table(tables.verdicts),
        ),
    ]


def _of_margins(tables: MitigationTables) -> str:
    margins = tables.margins
    said = ", ".join(f"{metric} if less than {margin:g}" for metric, margin in margins.items())
    text = (
        f"Performance is kept if a loss is shown to be small: of {said}. The worst of them decides, and "
        "is named. Limits from resampled photos, the whole statistic computed anew; galleries of "
        "retrieval stay as they are."
    )
    for metric in margins:
        rows = tables.retention[tables.retention["metric"] == metric]
        if (rows["verdict"] == "").all():
            text += (
                f" {metric} of the model as it is (at most {rows['before'].max():.3f}) is not above its "
                "margin: it has nothing to lose, and no say."
            )
    asked = tables.retention["metric"].str.startswith("AUC of queries").any()
    return text + (
        " Queries that ask for a group must still work: their AUC is shown, not hidden."
        if asked
        else ""
    )


def summary_table(verdicts: pd.DataFrame) -> pd.DataFrame:
    """One row per setting at its chosen strength, in the words of the page."""
    rows = verdicts[verdicts["chosen"]]
    return pd.DataFrame(
        {
            "setting": rows["setting"],
            "strength": rows["strength"],
            "bias": rows["bias"],
            "performance": rows["performance_verdict"],
            "attributable": _with_limits(rows, "attributable"),
            "share": rows["attributable_share"].map(_percent),
            "p, BH": rows["p_bh"],
            "photos": rows["photos"],
            "over threshold": _with_limits(rows, "over_threshold"),
            "placebo": rows["placebo"],
            "change of B": rows["change"],
            "threshold alone": rows["threshold"],
            "change of performance": _of_performance(rows),
        }
    )


def _with_limits(rows: pd.DataFrame, column: str) -> pd.Series[str]:
    parts = [rows[name] for name in (column, f"{column}_lo", f"{column}_hi")]
    found = [
        "–" if pd.isna(value) else f"{value:+.3f} [{lo:+.3f}, {hi:+.3f}]"
        for value, lo, hi in zip(*parts, strict=True)
    ]
    return pd.Series(found, rows.index)


def _of_performance(rows: pd.DataFrame) -> pd.Series[str]:
    return rows["performance_metric"] + " " + _with_limits(rows, "performance")


def _percent(share: float) -> str:
    return "–" if pd.isna(share) else f"{round(share, 2) + 0.0:.0%}"  # no minus before a zero


def _headline(tables: MitigationTables) -> str:
    chosen = tables.verdicts[tables.verdicts["chosen"]]
    reduced = chosen[chosen["bias"] == "reduced"]
    both = reduced[reduced["performance_verdict"] == "kept"]
    sure = int((reduced["p_bh"] < 0.05).sum())
    over = int((chosen["over_threshold_hi"] < 0).sum())
    said = (
        f"Settings: {len(chosen)}. Less disparity than a moved threshold leaves: {over}; less than their "
        f"placebo leaves too: {len(reduced)} ({sure} after correction for the number of settings); of these "
        f"shown to keep performance: {len(both)}."
    )
    names = ", ".join(reduced["setting"]) or "none"
    null = tables.conditions[tables.conditions["role"] == "none"].iloc[0]
    doubt = (
        f" On the reported photos the bias of the model as it is cannot be told from noise (B "
        f"{null['B_plugin']:.3f}, floor {null['floor']:.3f}, p {null['p']:.3f}): a mitigation can hardly be "
        "shown to reduce it, and shares of it mean nothing."
        if null["p"] >= 0.05
        else ""
    )
    return f"{said} Shown beyond placebo: {names}.{doubt}"


def _reading(row: pd.Series[Any]) -> str:
    what = f"{row['setting']} at strength {row['strength']:g}: "
    if pd.isna(row["attributable"]):
        beyond = "it has no placebo"
    else:
        limits = f"[{row['attributable_lo']:+.3f}, {row['attributable_hi']:+.3f}]"
        beyond = f"{row['attributable']:+.3f} {limits} beyond its placebo"
    over = f"{row['over_threshold']:+.3f} [{row['over_threshold_lo']:+.3f}, {row['over_threshold_hi']:+.3f}]"
    verdict = {"kept": "kept", "lost": "lost", "not shown": "not shown to be kept"}
    fate = verdict[row["performance_verdict"]]
    limits = f"[{row['performance_lo']:+.4f}, {row['performance_hi']:+.4f}]"
    price = f"{row['performance_metric']} {row['performance']:+.4f} {limits}"
    over_all = ""
    if row["bias"].startswith("reduced") and row["over_threshold_share"] > 1:
        over_all = (
            " That is more than there was: in this direction the gaps now point the other way."
        )
    admissible = "" if row["admissible"] else " No strength kept performance on the choosing split."
    return (
        f"{what}{row['bias']}. Of the cross-fit B {row['B_null']:.3f} it changes {over} over a moved "
        f"threshold, {beyond}; performance is {fate} ({price})."
        f"{over_all}{admissible}"
    )


def _panels(tables: MitigationTables) -> dict[str, pd.DataFrame]:
    """Changes of bias and performance of every condition, on either split."""
    metric = tables.metric
    kept = tables.retention[tables.retention["metric"] == metric].set_index("name")["change"]
    choice, report = tables.choice, tables.conditions
    return {
        "strengths chosen here": choice.assign(
            bias=choice["B_crossfit"] - choice["B_crossfit_null"],
            performance=choice[metric] - choice[f"{metric}_null"],
        ),
        "reported": report.assign(
            bias=report["B_change"], performance=report["name"].map(kept).fillna(0.0)
        ),
    }


def ablation_table(verdicts: pd.DataFrame) -> pd.DataFrame:
    """One row per method, setting and strength; a star marks what was chosen."""
    rows = verdicts
    return pd.DataFrame(
        {
            "method": rows["method"],
            **({"site or setting": rows["varied"]} if rows["varied"].any() else {}),
            "strength": rows["strength"].map("{:g}".format)
            + rows["chosen"].map({True: " *", False: ""}),
            "photos": rows["photos"],
            "B, cross-fit": rows["B_crossfit"],
            "mean FPR": rows["mean_fpr"],
            "over threshold": rows["over_threshold_share"].map(_percent),
            "placebo": rows["placebo_share"].map(_percent),
            "attributable": rows["attributable_share"].map(_percent),
            "attributable change of B": _with_limits(rows, "attributable"),
            "change of performance": _of_performance(rows),
            "bias": rows["bias"],
            "performance": rows["performance_verdict"],
        }
    )


def _retained(tables: MitigationTables) -> pd.DataFrame:
    chosen = tables.verdicts[tables.verdicts["chosen"]][["setting", "strength"]]
    rows = tables.retention[tables.retention["role"] == "mitigated"].merge(
        chosen, on=["setting", "strength"]
    )
    columns = ["setting", "strength", "metric", "before", "after", "change", "lo", "hi", "verdict"]
    return rows[columns]


def _of_conditions(tables: MitigationTables) -> pd.DataFrame:
    columns = [
        "name",
        "B_plugin",
        "floor",
        "p",
        "B_crossfit",
        "B_lo",
        "B_hi",
        "B_lin",
        "mean_fpr",
        "n_objects",
    ]
    return tables.conditions[columns]


def _where(run: Run) -> list[Block]:
    stored = Conditions(run)
    found, frame = stored.maps(), stored.frame
    drawn = {}
    for own in frame[(frame["role"] == "mitigated") & frame["name"].isin(found)].to_dict("records"):
        names = [own["name"], *placebos_of(frame, own).values()]
        drawn[own["name"]] = [found[name] for name in names if name in found]
    figure = maps(drawn)
    if figure is None:
        return []
    return [
        block(
            "Where features changed",
            "Tokens of the image encoder's last block on their grid, means over the reported photos: norm "
            "before, norm after, and norm of the change over the norm before, of each setting at its strongest "
            "and of its placebo, on the photos that it could be run on. No photo is shown. Methods that "
            "change no token there are left out.",
            figure=figure,
        )
    ]
