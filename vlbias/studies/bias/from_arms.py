"""B from potential outcomes in memory: the numbers that a page has of a run, without a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vlbias.errors import BadOption
from vlbias.report.claims import Sentence
from vlbias.report.notebook import shown_in_notebook
from vlbias.studies.bias.numbers.worlds import conditions, disparity_of
from vlbias.studies.bias.sentences import bias_in_words
from vlbias.studies.bias.study import Study
from vlbias.studies.photos.arms_in_memory import ArmsInMemory
from vlbias.studies.photos.scores import PresenceScores

__all__ = ["Bias", "bias"]

_NAMELESS = {"name": "arms", "model": "in memory"}
_SHOWN = ["B_crossfit", "B_lo", "B_hi", "p", "B_plugin", "floor", "n_objects"]


@dataclass(frozen=True, eq=False, repr=False)
class Bias:
    """B, the sum over objects of the gap of false-positive rates between groups; never a bare number.

    A notebook shows it as a sentence and tables; `print` shows the sentence and the numbers.

    Args:
        sentence: What can be said, a claim of docs/claims.md.
        table: One row: B with floor, tests and limits, as `bias.csv` of a page.
        objects: One row per object: rates, gap, limits, p-values, support.
        worlds: One row per world: B, floor, p, limits, false-positive rate.
        thresholds: The operating point, per object.
    """

    sentence: Sentence
    table: pd.DataFrame
    objects: pd.DataFrame
    worlds: pd.DataFrame
    thresholds: pd.DataFrame

    @property
    def plugin(self) -> float:
        """The sum of absolute gaps, which noise inflates."""
        return float(self.table["plugin"].iloc[0])

    @property
    def floor(self) -> float:
        """What sampling error alone gives for `plugin`, on average."""
        return float(self.table["floor"].iloc[0])

    @property
    def crossfit(self) -> float:
        """The estimate whose expectation is at most B."""
        return float(self.table["crossfit"].iloc[0])

    @property
    def limits(self) -> tuple[float, float]:
        """95 % limits of B."""
        return float(self.table["lo"].iloc[0]), float(self.table["hi"].iloc[0])

    @property
    def p(self) -> float:
        """Of the test that no object has a gap."""
        return float(self.table["p"].iloc[0])

    def __repr__(self) -> str:
        numbers = self.worlds[["world", *_SHOWN]].to_string(
            index=False, float_format="{:.3f}".format
        )
        return f"{self.sentence}\n{numbers}"

    def _repr_html_(self) -> str:
        tables = {"Worlds": self.worlds[["world", *_SHOWN]], "Objects": self.objects}
        return shown_in_notebook(self.sentence, tables)


def bias(
    arms: pd.DataFrame,
    *,
    groups: Sequence[str] = (),
    split: str | None = None,
    report: Sequence[str] = (),
    draws: int = 2000,
    seed: int = 0,
    **operating_point: Any,
) -> Bias:
    """B of a model with floor, p, cross-fit estimate, limits and objects, from potential outcomes in memory.

    The numbers equal those of the page of a run of the same arms with the same draws and seed, to the digit.

    Args:
        arms: From `vlbias.potential_outcomes` with the outcome "presence", of examples that have a group and
            say which classes are present.
        groups: Gaps are the first minus the second; all groups in the order of the alphabet if not given.
        split: Where thresholds are set; all photos if not given.
        report: Splits whose rates are reported; if not given all but `split`, or all where there is no other.
        draws: Resampling draws of every interval and test.
        seed: Of the draws.
        **operating_point: Further keys of `[operating_point]` of a study: rule, value, thresholds,
            min_negatives, min_events, strata.

    Raises:
        BadTable: if the arms lack a column, or have no presence scores.
        BadOption: if a group or split is not there, or there is no draw.
        BadStudy: if a key of the operating point is wrong.
    """
    if draws < 1 or seed < 0:
        raise BadOption("draws, seed", (draws, seed), "1 draw or more, and a seed of 0 or more")
    there = sorted(set(arms["split"])) if "split" in arms else ["all"]
    for name in ([] if split is None else [split], *[report]):
        if set(name) - set(there):
            raise BadOption("split, report", list(name), f"splits that are there: {there}")
    measured = tuple(report) or tuple(name for name in there if name != split) or tuple(there)
    # the study's own keys take splits of fixed names only; any name is fine in memory
    study = Study.parse({**_NAMELESS, "operating_point": operating_point})
    point = study.operating_point.model_dump() | {"split": split, "report": measured}
    job = PresenceScores(ArmsInMemory(arms, groups, point), draws=draws, seed=seed)
    found = disparity_of(job, job.null)
    frame = found.frame()
    thresholds = pd.DataFrame({"object": job.run.targets, "threshold": job.thresholds})
    said = bias_in_words(frame.iloc[0], job.panel.groups, job.null_contrast.partition("->")[0])
    return Bias(said, frame, found.objects, conditions(job), thresholds)
