"""Which of several models has more bias: runs on the same photos, compared pair by pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vlbias.analysis.disparity import disparity
from vlbias.analysis.model_differences import ScoredModel, model_differences
from vlbias.analysis.panel import Panel
from vlbias.errors import BadOption, BadTable
from vlbias.report.blocks import Glance
from vlbias.report.claims import Sentence
from vlbias.report.glance import per_object
from vlbias.report.notebook import shown_in_notebook
from vlbias.store.run_folder import Run
from vlbias.studies.photos.comparison_claims import CLAIMS
from vlbias.studies.photos.scores import PresenceScores

__all__ = ["Comparison", "compare", "comparison_of", "not_comparable"]

_POINT = ("rule", "value", "split", "report", "min_negatives", "min_events")


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Runs of models on the same photos, ranked, and which differences are shown.

    Args:
        ranking: One row per run, least bias first: B with limits on the photos and objects that all share,
            and the runs that are shown to have less.
        differences: One row per pair; see `vlbias.analysis.model_differences`.
    """

    ranking: pd.DataFrame
    differences: pd.DataFrame

    @property
    def sentence(self) -> Sentence:
        """How many of the differences are shown."""
        claim, *_ = CLAIMS
        photos, objects = self.ranking[["photos", "n_objects"]].iloc[0]
        return claim.say(
            shown=int((self.differences["said"] != "not shown").sum()),
            pairs=len(self.differences),
            models=len(self.ranking),
            photos=photos,
            objects=objects,
        )

    @property
    def answer(self) -> Glance:
        """The largest of the differences that are shown, for readers in a hurry."""
        _, found, nothing = CLAIMS
        shown = self.differences[self.differences["said"] != "not shown"]
        if shown.empty:
            return Glance("Which model?", nothing.say(models=len(self.ranking)), "", "not shown")
        row = shown.loc[shown["difference"].abs().idxmax()]
        more, less = row["first"], row["second"]
        estimate, lo, hi = row["difference"], row["lo"], row["hi"]
        if estimate < 0:
            more, less, estimate, lo, hi = less, more, -estimate, -hi, -lo
        number = per_object(estimate, lo, hi, int(row["n_objects"]))
        others = len(shown) - 1
        further = f"; {others} more of {len(self.differences)} pairs differ" if others else ""
        return Glance(
            "Which model?",
            found.say(more=more, less=less),
            number.replace(" points per", " points more per") + further,
            "shown",
        )

    def __repr__(self) -> str:
        parts = (self.ranking, self.differences)
        tables = (part.to_string(index=False, float_format="{:.3f}".format) for part in parts)
        return "\n\n".join([self.sentence, *tables])

    def _repr_html_(self) -> str:
        tables = {"Models": self.ranking, "Differences between models": self.differences}
        return shown_in_notebook(self.sentence, tables)


def compare(*runs: Run | Path | str, draws: int = 2000, seed: int = 0) -> Comparison:
    """Rank runs of the same photos by B, and test every difference, paired over photos.

    Args:
        *runs: Two or more finished runs of studies of bias, folders or `Run`s.
        draws: Resampling draws of the limits.
        seed: Of the draws.

    Raises:
        BadOption: if there are fewer than two runs, or two of one name.
        BadTable: if the runs are not of the same photos, labels, classes and rule of the operating point.
    """
    opened = [run if isinstance(run, Run) else Run(run) for run in runs]
    names = [run.folder.resolve().name for run in opened]
    if len(opened) < 2 or len(set(names)) < len(names):
        raise BadOption("runs", names, "two run folders or more, each of another name")
    if draws < 1 or seed < 0:
        raise BadOption("draws, seed", (draws, seed), "1 draw or more, and a seed of 0 or more")
    for first, second in combinations(opened, 2):
        reason = not_comparable(first, second)
        if reason:
            raise BadTable(f"{first.folder} and {second.folder} cannot be compared: {reason}")
    return comparison_of(opened, draws=draws, seed=seed)


def not_comparable(first: Run, second: Run) -> str:
    """Why two runs cannot be paired over photos; empty if they can."""
    studies = [run.manifest["study"] for run in (first, second)]
    for run, study in zip((first, second), studies, strict=True):
        if "presence" not in study.get("outcomes", ()) or "contrasts" not in run.manifest:
            return f"{run.folder.name} has no presence scores of worlds"
    if first.manifest["data"]["content_hash"] != second.manifest["data"]["content_hash"]:
        return "their photos or labels differ"
    if studies[0]["dataset"]["groups"] != studies[1]["dataset"]["groups"]:
        return "their groups differ"
    if set(first.targets) != set(second.targets):
        return "their classes differ"
    bases = [_base(run) for run in (first, second)]
    if bases[0] != bases[1]:
        return f"B of one is of the world {bases[0]!r}, of the other of {bases[1]!r}"
    points = [study["operating_point"] for study in studies]
    other = [name for name in _POINT if points[0].get(name) != points[1].get(name)]
    return f"their operating points differ in {', '.join(other)}" if other else ""


def _base(run: Run) -> str:
    """The world that B is of; see `PresenceScores.null_contrast`."""
    bases = [name.partition("->")[0] for name in run.manifest["contrasts"]]
    return "null" if "null" in bases else bases[0]


def comparison_of(runs: Sequence[Run], *, draws: int, seed: int) -> Comparison:
    """See `compare`; the runs are known to be comparable.

    Raises:
        BadTable: if they share no object with support.
    """
    jobs = {run.folder.resolve().name: PresenceScores(run, draws=draws, seed=seed) for run in runs}
    first = next(iter(jobs.values()))
    shared = reduce(np.intersect1d, [job.panel.sample for job in jobs.values()])
    targets = first.run.targets
    models = {name: _scored(job, shared, targets) for name, job in jobs.items()}
    panel = first.panel.take(_rows(first, shared))
    named = [{job.run.targets[k] for k in job.objects} for job in jobs.values()]
    both = set.intersection(*named)
    objects = np.array([k for k, name in enumerate(targets) if name in both], dtype=np.intp)
    table = model_differences(panel, models, objects=objects, rng=first.rng(), draws=draws)
    return Comparison(_ranking(panel, models, objects, table, first), table)


def _rows(job: PresenceScores, samples: NDArray[np.str_]) -> NDArray[np.intp]:
    place = {sample: row for row, sample in enumerate(job.panel.sample.tolist())}
    return np.array([place[sample] for sample in samples.tolist()], dtype=np.intp)


def _scored(job: PresenceScores, samples: NDArray[np.str_], targets: Sequence[str]) -> ScoredModel:
    """Scores on shared photos, with the columns in shared order."""
    order = [job.run.targets.index(name) for name in targets]
    drawn = job.drawn_thresholds
    return ScoredModel(
        job.null[_rows(job, samples)][:, order],
        job.thresholds[order],
        None if drawn is None else drawn[:, order],
    )


def _ranking(
    panel: Panel,
    models: Mapping[str, ScoredModel],
    objects: NDArray[np.intp],
    differences: pd.DataFrame,
    job: PresenceScores,
) -> pd.DataFrame:
    rows = []
    for name, one in models.items():
        found = disparity(
            panel, one.scores, one.thresholds, rng=job.rng(), objects=objects, draws=job.draws,
            permutations=job.draws, drawn_thresholds=one.drawn,
        )  # fmt: skip
        row: dict[str, Any] = {
            "run": name, "B_crossfit": found.crossfit, "B_lo": found.lo, "B_hi": found.hi,
            "B_plugin": found.plugin, "floor": found.floor, "p": found.p, "n_objects": found.n_objects,
            "photos": len(panel), "shown to have less": ", ".join(_less(name, differences)),
        }  # fmt: skip
        rows.append(row)
    table = pd.DataFrame(rows).sort_values("B_crossfit", kind="stable", ignore_index=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table


def _less(name: str, differences: pd.DataFrame) -> list[str]:
    """Runs that are shown to have less than this one."""
    more, less = differences["said"] == "more", differences["said"] == "less"
    first = differences.loc[(differences["first"] == name) & more, "second"]
    second = differences.loc[(differences["second"] == name) & less, "first"]
    return [*first, *second]
