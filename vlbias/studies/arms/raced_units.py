"""What racing left: which units stayed to the end, which left in which round, and what is claimed of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vlbias.analysis.racing import Race, Rules, race
from vlbias.report.blocks import Block, block
from vlbias.report.claims import Sentence, claim_named
from vlbias.store.parquet import read_frame
from vlbias.store.run_folder import Run
from vlbias.studies.arms.racing_claims import CLAIMS

__all__ = [
    "RacedValues",
    "Values",
    "approximate_file",
    "race_of",
    "raced_contrasts",
    "raced_units",
    "racing_block",
    "with_raced_p",
]

Floats = NDArray[np.float64]
_SHOWN, _NOT_SHOWN = (claim_named(CLAIMS, name) for name in ("raced-shown", "raced-not-shown"))


@dataclass(frozen=True, eq=False)
class RacedValues:
    """What is raced in a contrast: the mean of a change, or the sum of its means in groups.

    Args:
        rows: [N] rows of the run's samples.
        values: [N, K] change of each sample through each unit; NaN where it was not measured.
        stratum: [N] codes from 0.
    """

    rows: NDArray[np.intp]
    values: Floats
    stratum: NDArray[np.intp]


Values = Callable[[Run, str, Sequence[str]], RacedValues]
"""From a run, a contrast and units to what is raced. It looks at nothing that a unit's values depend on."""


def raced_contrasts(run: Run) -> dict[str, list[str]]:
    """The contrasts that change something, each with its units."""
    known = run.manifest["mediators"]
    found = {}
    for contrast, about in run.manifest["contrasts"].items():
        base, _, other = contrast.partition("->")
        units = [name for name in about["mediators"] if "[" in name and _is_unit(known[name])]
        if base != other and units:
            found[contrast] = units
    return found


def _is_unit(about: Any) -> bool:
    return len(about["sites"]) == 1 and "[" in about["sites"][0]


def approximate_file(run: Run, contrast: str) -> Path:
    """Where the approximate changes of all samples are kept."""
    place = list(raced_contrasts(run)).index(contrast)
    return run.folder / "racing" / f"{place}.parquet"


def race_of(run: Run, contrast: str, values: Values, rounds: int | None = None) -> Race:
    """The race of a contrast after some rounds, from the cells alone; after all of them if None.

    Args:
        run: With all cells of these rounds.
        contrast: One of `raced_contrasts`.
        values: What is raced.
        rounds: How many.
    """
    about, units = run.manifest["study"]["racing"], raced_contrasts(run)[contrast]
    found = values(run, contrast, units)
    cheap = None
    if about["gradients"]:
        path = approximate_file(run, contrast)
        table = read_frame(path, ("sample_id", *units), page_checksum_verification=True)
        table = table.set_index("sample_id")
        names = run.samples["sample_id"].to_numpy()[found.rows]
        cheap = table.reindex(names)[units].to_numpy(np.float64)
    cluster = run.samples["cluster"].to_numpy(str)[found.rows]
    return race(
        found.values,
        run.samples["round"].to_numpy().astype(np.intp)[found.rows],
        rounds=about["rounds"] if rounds is None else rounds,
        stratum=found.stratum,
        cluster=np.unique(cluster, return_inverse=True)[1],
        rules=Rules(about["keep"], about["miss"], seed=run.manifest["study"]["seed"]),
        approximate=cheap,
    )


def raced_units(run: Run, contrast: str, values: Values) -> pd.DataFrame:
    """One row a unit: what is claimed of it, and the round after which it left; none if nothing was raced.

    Returns:
        Columns contrast, mediator, estimate, se, lo, hi, p_adjusted, survives, largest (whether it is among
        the `keep` largest of those that survive), left (0: it stayed), n.
    """
    if run.manifest["study"].get("racing") is None or contrast not in raced_contrasts(run):
        return pd.DataFrame(columns=["contrast", "mediator"])
    found = race_of(run, contrast, values)
    keep = run.manifest["study"]["racing"]["keep"]
    return pd.DataFrame(
        {
            "contrast": contrast,
            "mediator": raced_contrasts(run)[contrast],
            "estimate": found.estimate,
            "se": found.se,
            "lo": found.lo,
            "hi": found.hi,
            "p_adjusted": found.p,
            "survives": found.survives,
            "largest": found.among_largest(keep),
            "left": found.left,
            "n": found.rows,
        }
    )


def with_raced_p(effects: pd.DataFrame, table: pd.DataFrame, is_raced: pd.Series) -> pd.DataFrame:
    """Effects whose units have the adjusted p of the race, which knows how often it looked.

    Args:
        effects: With columns contrast, mediator and p_adjusted.
        table: From `raced_units`.
        is_raced: Which rows are the effect that was raced; others of a raced unit have no adjusted p.
    """
    if not len(table):
        return effects
    p = table.set_index(["contrast", "mediator"])["p_adjusted"]
    keys = pd.MultiIndex.from_frame(effects[["contrast", "mediator"]])
    own, of_unit = p.reindex(keys).to_numpy(), keys.isin(p.index)
    columns = {}
    for name in ("p_adjusted", "p_bh"):
        if name in effects:
            raced = own if name == "p_adjusted" else np.nan
            columns[name] = np.where(of_unit, np.where(is_raced, raced, np.nan), effects[name])
    return effects.assign(**columns)


def racing_block(run: Run, table: pd.DataFrame, what: str) -> Block:
    """Who left when, in words and as a table.

    Args:
        run: The run.
        table: From `raced_units`, of all contrasts.
        what: What was raced, in words.
    """
    about = run.manifest["study"]["racing"]
    passes, every = table["n"].sum(), table.groupby("contrast")["n"].transform("max").sum()
    text = (
        f"Units were raced in {about['rounds']} rounds: those that were settled after a round were not "
        f"measured on later samples. That took {passes:,} of {every:,} passes. Raced was {what}. "
        "Limits and adjusted p hold for all units of a contrast and all rounds together: any false finding "
        "in 5 %. 'left' is the round after which a unit left (0: it stayed). Its limits are those of the "
        "samples until then, and so are its effects in other tables, whose limits are of each alone and do "
        "not know of the rounds. Who left unfound would have survived all samples with a probability of at "
        f"most {about['miss']:.0%}, as predicted then. 'largest' are surely among the {about['keep']} largest "
        "of those that survive."
    )
    said = " ".join(
        _found(str(name), part, about["keep"])
        for name, part in table.groupby("contrast", sort=False)
    )
    order = table.sort_values(["contrast", "p_adjusted"], kind="stable")
    return block("Racing", f"{said} {text}", table=order)


def _found(contrast: str, part: pd.DataFrame, keep: int) -> Sentence:
    found = part[part["survives"]].sort_values("estimate", key=abs, ascending=False)
    if not len(found):
        return _NOT_SHOWN.say(contrast=contrast, units=len(part))
    largest = found.loc[found["largest"], "mediator"]
    return _SHOWN.say(
        contrast=contrast,
        units=len(part),
        found=len(found),
        which=_listed(found["mediator"]),
        keep=keep,
        largest=_listed(largest) if len(largest) else "none",
    )


def _listed(names: pd.Series[str], most: int = 12) -> str:
    few, more = list(names[:most]), len(names) - most
    return ", ".join(few) + (f" and {more} more" if more > 0 else "")
