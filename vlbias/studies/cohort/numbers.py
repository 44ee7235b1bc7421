"""All tables of a study of a cohort."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from vlbias.analysis.corrections import benjamini_hochberg
from vlbias.analysis.natural_effects import EFFECTS
from vlbias.runs.events import Note, silent
from vlbias.store.finished import refuse_unfinished
from vlbias.store.run_folder import Run
from vlbias.store.seals import refuse_damaged

__all__ = ["LEVEL", "Tables", "calibration", "judged", "numbers"]

LEVEL = 0.05
"""Level of the false discovery rate over all triples of a study."""
KEY = ["exposure", "mediator", "outcome"]


@dataclass(frozen=True)
class Tables:
    """Everything a page shows of a cohort, as tidy frames.

    Args:
        triples: One row a triple, adjusted by the graph: effects, limits, p, p_bh, found, adjustment.
        effects: One row per triple, adjustment and effect.
        unadjusted: One row a triple, not adjusted.
        falls: Triples that are found in one of the two and not in the other, with why.
        controls: Negative controls, adjusted and not.
        calibration: One row per adjustment: share of negative controls with p < .05, with limits.
        untestable: Triples that were not estimated, with why not.
        edges: The graph.
    """

    triples: pd.DataFrame
    effects: pd.DataFrame
    unadjusted: pd.DataFrame
    falls: pd.DataFrame
    controls: pd.DataFrame
    calibration: pd.DataFrame
    untestable: pd.DataFrame
    edges: pd.DataFrame


def numbers(run: Run, *, draws: int = 2000, seed: int = 0, note: Note = silent) -> Tables:
    """All tables of a run.

    Args:
        run: The run.
        draws: Not used: errors are those of the delta method.
        seed: Not used.
        note: Told what is being done.

    Raises:
        BadTable: if cells are missing or damaged.
    """
    refuse_unfinished(run)
    note("adjusting for the number of triples")
    rows = pd.DataFrame([row for path in run.files for row in json.loads(path.read_text("utf-8"))])
    estimated = rows[rows["status"] == "ok"].reset_index(drop=True)
    asked, controls = (estimated[estimated["control"] == value] for value in (False, True))
    adjusted = judged(asked[asked["adjustment"] == "graph"])
    plain = judged(asked[asked["adjustment"] == "unadjusted"])
    frames = {}
    for name in ("untestable", "edges"):
        refuse_damaged(run.folder, run.manifest, f"{name}.parquet")
        frames[name] = pd.read_parquet(run.folder / f"{name}.parquet")
    return Tables(
        triples=adjusted,
        effects=_long(asked),
        unadjusted=plain[[*KEY, "n", *_parts("ACME"), "p_bh", "found"]],
        falls=_falls(adjusted, plain),
        controls=controls[[*KEY, "adjustment", "n", *_parts("ACME"), "reason"]].reset_index(
            drop=True
        ),
        calibration=calibration(controls),
        untestable=pd.concat([frames["untestable"], _refused(rows)], ignore_index=True),
        edges=frames["edges"],
    )


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """With p_bh, and whether the indirect effect is found; sorted by p.

    The family is every triple with an identified effect, natural or interventional. An effect is found if
    p_bh ≤ `LEVEL` and every mean is supported by patients (positivity).
    """
    rows = rows.copy()
    family = rows["effects"] != "unidentified"
    rows["p_bh"] = benjamini_hochberg(rows["ACME_p"].where(family).to_numpy(float))
    rows["found"] = (rows["p_bh"] <= LEVEL) & (rows["positivity"] == "")
    return rows.sort_values(["ACME_p", *KEY], kind="stable").reset_index(drop=True)


def calibration(controls: pd.DataFrame) -> pd.DataFrame:
    """Share of negative controls with p < .05, for each adjustment: adjustment, controls, share, lo, hi.

    Limits are Clopper's and Pearson's; they take controls as independent.
    """
    rows = []
    for name, part in controls.groupby("adjustment", sort=True):
        p = part["ACME_p"].dropna()
        test = stats.binomtest(int((p < LEVEL).sum()), len(p), LEVEL) if len(p) else None
        limits = test.proportion_ci(0.95) if test else (np.nan, np.nan)
        rows.append(
            {
                "adjustment": name,
                "controls": len(p),
                "below": int((p < LEVEL).sum()),
                "share": float((p < LEVEL).mean()) if len(p) else np.nan,
                "lo": float(limits[0]),
                "hi": float(limits[1]),
                "p": float(test.pvalue) if test else np.nan,
            }
        )
    columns = ["adjustment", "controls", "below", "share", "lo", "hi", "p"]
    return pd.DataFrame(rows, columns=columns)


def _parts(effect: str) -> list[str]:
    return [effect, *(f"{effect}_{part}" for part in ("se", "lo", "hi", "p"))]


def _long(rows: pd.DataFrame) -> pd.DataFrame:
    frames = []
    for effect in EFFECTS:
        named = dict(zip(_parts(effect), ("estimate", "se", "lo", "hi", "p"), strict=True))
        part = rows[[*KEY, "adjustment", "effects", *named]].rename(columns=named)
        frames.append(part.assign(effect=effect))
    long = pd.concat(frames, ignore_index=True)
    return long.sort_values([*KEY, "adjustment"], kind="stable").reset_index(drop=True)


def _falls(adjusted: pd.DataFrame, plain: pd.DataFrame) -> pd.DataFrame:
    shown = [*KEY, "ACME", "ACME_p", "p_bh", "found"]
    both = adjusted[[*shown, "confounder", "covariates", "reason"]].merge(
        plain[shown], on=KEY, suffixes=("", "_unadjusted")
    )
    differ = both[both["found"] != both["found_unadjusted"]]
    why = [_why(row) for row in differ.to_dict("records")]
    return differ.assign(why=why).reset_index(drop=True)


def _why(row: dict[str, object]) -> str:
    if row["confounder"]:
        return f"{row['confounder']} confounds: with it alone, the effect is nearest to the adjusted one"
    if not row["covariates"]:
        return "nothing is adjusted for; the number of triples in the family differs"
    return "no covariate accounts for it alone"


def _refused(rows: pd.DataFrame) -> pd.DataFrame:
    refused = rows[rows["status"] != "ok"]
    return refused[[*KEY, "control"]].assign(why_not=refused["status"].to_numpy())
