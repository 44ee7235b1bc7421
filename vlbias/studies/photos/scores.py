"""A run's arrays on the rows that are reported, and every analysis of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from vlbias.analysis.arm_estimates import Combination
from vlbias.analysis.disparity import Disparity, disparity
from vlbias.analysis.effects import combine, effects
from vlbias.analysis.operating_point import calibrate, grid, mean_fpr
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.support import support
from vlbias.errors import BadTable
from vlbias.store.run_folder import Run
from vlbias.studies.photos.panels import panel_of

__all__ = ["PERSON", "Numbers", "measured", "presence_map"]

PERSON = "person"
"""The class that is measured apart: masking persons takes it away."""


class Numbers:
    """A run's arrays on the rows that are reported.

    Args:
        run: The run.
        draws: Resampling draws.
        seed: Of the resampling; every analysis gets its own generator from it.
    """

    def __init__(self, run: Run, *, draws: int = 2000, seed: int = 0) -> None:
        self.run, self.draws, self.seed = run, draws, seed
        self.point = run.manifest["study"]["operating_point"]
        if run.missing:
            raise BadTable(
                f"{run.folder}: {len(run.missing)} of {len(run.manifest['cells'])} cells are missing; "
                f"unless the run is still going on, run `vlbias resume {run.folder}` first"
            )

    def rng(self) -> np.random.Generator:
        """A fresh generator, so that all analyses use the same draws and can be compared."""
        return np.random.default_rng(self.seed)

    @cached_property
    def whole(self) -> Panel:
        """All photos of the run."""
        return panel_of(self.run)

    @cached_property
    def reported(self) -> NDArray[np.intp]:
        """Rows of the reported splits, whatever their labels stand on."""
        report = self.point["report"] or sorted(set(self.whole.split.tolist()))
        return np.flatnonzero(np.isin(self.whole.split, report))

    @cached_property
    def kept(self) -> NDArray[np.intp]:
        """Rows of the reported splits whose label enough captions agree on."""
        return self.reported[measured(self.run)[self.reported]]

    @cached_property
    def fitted(self) -> NDArray[np.intp]:
        """Rows that thresholds are calibrated on."""
        rows = self.whole.index(split=self.point["split"])
        return rows[measured(self.run)[rows]]

    @cached_property
    def panel(self) -> Panel:
        """The photos that rates are reported on."""
        return self.whole.take(self.kept)

    def scores(self, contrast: str, arm: str, mediator: str = "") -> Floats:
        """Presence scores [reported photos, classes]."""
        return self.run.slab(contrast, mediator, arm)[self.kept]

    def calibration(self) -> tuple[Panel, dict[str, Floats]] | None:
        """The photos that set thresholds, with their scores in every world; None for given ones."""
        if self.point["rule"] == "given":
            return None
        return self.whole.take(self.fitted), dict(self._in_worlds(self.fitted))

    @cached_property
    def contrasts(self) -> list[str]:
        """Contrasts in the order they were run."""
        return list(self.run.manifest["contrasts"])

    @cached_property
    def thresholds(self) -> NDArray[np.float64]:
        """The operating point [classes], calibrated on the null world of one split."""
        if self.point["rule"] == "given":
            return np.array([self.point["thresholds"][name] for name in self.run.targets])
        scores = self.run.slab(self.null_contrast, "", "00")[self.fitted]
        panel = self.whole.take(self.fitted)
        return calibrate(panel, scores, self.point["rule"], fpr=self.point["value"])

    @cached_property
    def null_contrast(self) -> str:
        """A contrast from the null world in which no photo is missing, if there is one."""
        bases = [name for name in self.contrasts if name.startswith("null->")] or self.contrasts
        return min(bases, key=lambda name: int(np.isnan(self.run.slab(name, "", "00")).sum()))

    @cached_property
    def null(self) -> Floats:
        """Scores of the null world."""
        return self.scores(self.null_contrast, "00")

    @cached_property
    def objects(self) -> NDArray[np.intp]:
        """Columns with support, fixed on the null world before any intervention is looked at."""
        return support(
            self.panel,
            self.null,
            self.thresholds,
            min_count=self.point["min_negatives"],
            min_events=self.point["min_events"],
        )

    def disparity(self, scores: Floats) -> Disparity:
        """B of one condition over the fixed objects."""
        return disparity(
            self.panel,
            scores,
            self.thresholds,
            rng=self.rng(),
            objects=self.objects,
            draws=self.draws,
            permutations=self.draws,
        )

    def worlds(self) -> Iterator[tuple[str, Floats]]:
        """Worlds and their scores, the null world first; photos without a world are NaN."""
        yield from self._in_worlds(self.kept)

    def places(self) -> Iterator[tuple[str, str, str]]:
        """Each world, and the contrast and arm that hold it; the null world first."""
        yield self.null_contrast.partition("->")[0], self.null_contrast, "00"
        for contrast in self.contrasts:
            base, _, other = contrast.partition("->")
            if other != base:
                yield other, contrast, "11"

    def _in_worlds(self, rows: NDArray[np.intp]) -> Iterator[tuple[str, Floats]]:
        for world, contrast, arm in self.places():
            yield world, self.run.slab(contrast, "", arm)[rows]

    def conditions(self) -> pd.DataFrame:
        """B, floor, false-positive rate and quality of each world on its own photos."""
        rows = []
        for name, scores in self.worlds():
            found = self.disparity(scores)
            rows.append(
                {
                    "world": name,
                    "photos": int((~np.isnan(scores).all(axis=1)).sum()),
                    "B_plugin": found.plugin,
                    "floor": found.floor,
                    "within_floor": found.is_within_floor,
                    "p": found.p,
                    "B_crossfit": found.crossfit,
                    "B_lo": found.lo,
                    "B_hi": found.hi,
                    "signed": found.signed,
                    "n_objects": found.n_objects,
                    "mean_fpr": self._mean_fpr(scores),
                    "presence_mAP": presence_map(self.panel.present, scores),
                }
            )
        return pd.DataFrame(rows)

    def _mean_fpr(self, scores: Floats) -> float:
        if not len(self.objects):
            return float("nan")  # insufficient is not 0
        return mean_fpr(self.panel, scores, self.thresholds, objects=self.objects)

    def effects(self, note: Callable[[str], None]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Effects of every contrast, and their hierarchical tests."""
        tables, trees = [], []
        for contrast in self.contrasts:
            note(f"effects of {contrast}")
            arms = (
                (name, y01[self.kept], y10[self.kept]) for name, y01, y10 in self.run.arms(contrast)
            )
            names = self.run.manifest["contrasts"][contrast]["mediators"]
            found = effects(
                self.panel,
                self.scores(contrast, "00"),
                self.scores(contrast, "11"),
                arms,
                rng=self.rng(),
                thresholds=self.thresholds,
                objects=self.objects,
                paths={name: _path(name) for name in names if "/" in name},
                draws=self.draws,
            )
            tables.append(found.table.assign(contrast=contrast))
            trees.append(found.tree.assign(contrast=contrast))
        return pd.concat(tables, ignore_index=True), pd.concat(trees, ignore_index=True)

    def placebo(self) -> pd.DataFrame:
        """Effect minus placebo effect, and the modalities' 2 x 2 where its four worlds were run."""
        arms = dict(self.worlds())
        base = next(iter(arms))
        wanted = [
            Combination(f"{world} - {placebo}", {world: 1, placebo: -1})
            for world, placebo in (
                ("mask-gender", "placebo-image"),
                ("replace-gender", "placebo-text"),
                ("both", "placebo-both"),
            )
            if {world, placebo} <= set(arms)
        ]
        parts = []
        for combination in wanted:
            parts.append(self._combined({base: arms[base]} | {n: arms[n] for n in combination.terms},
                                        [combination], base))  # fmt: skip
        cells = {"mask-gender", "replace-gender", "both"}
        if cells <= set(arms):
            four = {base: arms[base], **{name: arms[name] for name in cells}}
            parts.append(self._combined(four, _two_by_two(base), base))
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def _combined(
        self, arms: dict[str, Floats], combinations: list[Combination], base: str
    ) -> pd.DataFrame:
        return combine(
            self.panel,
            arms,
            combinations,
            base=base,
            rng=self.rng(),
            thresholds=self.thresholds,
            objects=self.objects,
            draws=self.draws,
        )

    def operating(self) -> pd.DataFrame:
        """B of every mediated world over operating points, on photos that have all of them.

        Each world has thresholds of its own, from the photos that set the operating point.
        """
        arms = dict(self.worlds())
        for contrast in self.run.manifest["study"].get("unmediated", ()):
            arms.pop(contrast.partition("->")[2], None)
        complete = ~np.isnan(np.stack(list(arms.values()))).any(axis=(0, 2))
        rows = np.flatnonzero(complete)
        part: dict[str, ArrayLike] = {name: scores[rows] for name, scores in arms.items()}
        points = (0.02, 0.05, 0.1, 0.2, 0.3)
        frame, areas = grid(
            self.panel.take(rows), part, points, base=next(iter(arms)), fit=self.calibration()
        )
        return frame.merge(areas, on="arm").assign(photos=len(rows))


def measured(run: Run) -> NDArray[np.bool_]:
    """Which samples have labels that as many captions agree on as the study's operating point asks."""
    # runs made before there was this choice measured all they had
    least = run.manifest["study"]["operating_point"].get("min_captions", 1)
    if least == 1:
        return np.ones(len(run.samples), bool)
    enough: NDArray[np.bool_] = run.samples["agreeing_captions"].astype(int).to_numpy() >= least
    return enough


def presence_map(present: NDArray[np.bool_], scores: Floats, least: int = 3) -> float:
    """Mean average precision over classes with at least `least` positives and as many negatives."""
    from sklearn.metrics import average_precision_score

    known = ~np.isnan(scores).any(axis=1)
    truth, seen = present[known], scores[known]
    enough = (truth.sum(axis=0) >= least) & ((~truth).sum(axis=0) >= least)
    if not enough.any():
        return float("nan")
    return float(
        np.mean([average_precision_score(truth[:, k], seen[:, k]) for k in np.flatnonzero(enough)])
    )


def _two_by_two(base: str) -> list[Combination]:
    image, text, both = "mask-gender", "replace-gender", "both"
    return [
        Combination("image (mask-gender)", {image: 1, base: -1}),
        Combination("text (replace-gender)", {text: 1, base: -1}),
        Combination("both", {both: 1, base: -1}),
        Combination("interaction image x text", {both: 1, image: -1, text: -1, base: 1}),
    ]


def _path(mediator: str) -> tuple[str, ...]:
    """Encoder, layer and unit of a mediator's name, for tests down the tree."""
    stage, _, part = mediator.partition("/")
    # sites that are replaced together are of one layer, or stand under that of the first
    layer = part.partition("+")[0].partition(".")[2].partition("[")[0]
    return (stage, f"layer {layer}", part)
