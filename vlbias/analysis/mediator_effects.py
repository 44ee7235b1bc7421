"""The table of effects, mediator by mediator: only one mediator's arms are in memory at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from vlbias.analysis.arm_estimates import ArmEstimate, Combination, NullEstimate
from vlbias.analysis.disparity_changes import Changes, Scale
from vlbias.analysis.panel import Floats, Panel
from vlbias.analysis.rates import Window
from vlbias.errors import BadTable

__all__ = ["EFFECTS", "MediatorTable", "row_counts", "supported"]

EFFECTS = (
    Combination("TE", {"11": 1, "00": -1}),
    Combination("NDE", {"10": 1, "00": -1}),
    Combination("NIE", {"01": 1, "00": -1}),
    Combination("TIE", {"11": 1, "10": -1}),
    Combination("TDE", {"11": 1, "01": -1}),
    Combination("INT", {"11": 1, "10": -1, "01": -1, "00": 1}),
)
"""TE = NDE + TIE = NIE + TDE = NDE + NIE + INT, exactly, for every functional.

The first digit of an arm is the world of the input, the second that of the mediator. NIE and NDE
are the pure effects (clean run with a changed mediator: sufficiency); TIE and TDE the total ones
(changed run with a clean mediator: necessity).
"""

_NUMBERS = ("estimate", "se", "df", "lo", "hi", "p", "relative", "relative_lo", "relative_hi")


def row_counts(panel: Panel, scale: Scale, valid: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """How many rows, clusters and objects an estimate rests on."""
    seen = valid.any(axis=1)
    return {
        "n": int(seen.sum()),
        "n_clusters": int(np.count_nonzero(np.bincount(panel.cluster_code[seen]))),
        "n_objects": len(scale.objects),
        "status": "ok" if len(scale.objects) else "insufficient",
    }


def supported(row: Mapping[str, Any], counts: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its counts; without a number where no object has rows in every group."""
    full = {**row, **counts}
    if counts["status"] == "insufficient":
        full |= dict.fromkeys(_NUMBERS, np.nan)
    return full


@dataclass(frozen=True, eq=False)
class SharedArms:
    """The arms that all mediators share, for one scale and one set of rows."""

    scale: Scale
    window: Window
    null: NullEstimate
    last: ArmEstimate
    counts: Mapping[str, Any]


class MediatorTable:
    """Collects the table's rows mediator by mediator; fits the null and total arms once per set of images."""

    def __init__(self, panel: Panel, changes: Changes, y00: Floats, y11: Floats) -> None:
        self.panel, self.changes, self.y00, self.y11 = panel, changes, y00, y11
        self.valid = ~(np.isnan(y00) | np.isnan(y11))
        self.rows: list[dict[str, Any]] = []
        self.kept: list[Floats] = []
        self.names: set[str] = set()
        self._fitted: list[SharedArms] = []
        self._fitted_on: npt.NDArray[np.bool_] | None = None

    def fitted(self, valid: npt.NDArray[np.bool_]) -> list[SharedArms]:
        """The null and total arms over the valid entries, one per scale."""
        if self._fitted_on is None or not np.array_equal(valid, self._fitted_on):
            self._fitted, self._fitted_on = [], valid
            for whole in self.changes.scales:
                scale = whole.on(self.panel, valid)
                window = self.changes.window(scale, valid)
                null = self.changes.null(scale, self.changes.rates(scale, window, "00", self.y00))
                rates = self.changes.rates(scale, window, "11", self.y11)
                (last,) = self.changes.arms([scale], [null], [rates])
                counts = row_counts(self.panel, scale, valid)
                self._fitted.append(SharedArms(scale, window, null, last, counts))
        return self._fitted

    def add_total(self) -> None:
        """TE over all rows that both worlds have."""
        for one in self.fitted(self.valid):
            arms = {"00": one.null.arm, "11": one.last}
            self._collect("", one, arms, EFFECTS[:1], is_cut=False)

    def add(self, name: str, y01: Floats, y10: Floats) -> None:
        """All effects of one mediator, over the rows that all four arms have."""
        if name in self.names or not name:
            raise BadTable(f"mediator name {name!r} is empty or repeats")
        self.names.add(name)
        valid = self.valid
        missing = np.isnan(y01) | np.isnan(y10)
        if missing.any():
            valid = valid & ~missing
        # where no row has the mediator nothing passes through it, and nothing is cut
        is_cut = bool(valid.any() and ((y10 == self.y00) | ~valid).all())
        shared = self.fitted(valid)
        twice = [one for one in shared for _ in range(2)]
        rates = [
            self.changes.rates(one.scale, one.window, arm, scores)
            for one in shared
            for arm, scores in (("01", y01), ("10", y10))
        ]
        found = self.changes.arms([o.scale for o in twice], [o.null for o in twice], rates)
        for place, one in enumerate(shared):
            arms = {"00": one.null.arm, "11": one.last}
            arms |= {"01": found[2 * place], "10": found[2 * place + 1]}
            self._collect(name, one, arms, EFFECTS, is_cut=is_cut)

    def _collect(
        self,
        name: str,
        one: SharedArms,
        arms: Mapping[str, ArmEstimate],
        combinations: Sequence[Combination],
        *,
        is_cut: bool,
    ) -> None:
        for row, drawn in self.changes.rows(one.scale, one.null, arms, combinations):
            cut = is_cut and one.counts["status"] == "ok"
            full = {"mediator": name, **supported(row, one.counts), "cut": cut}
            if cut:
                full |= dict.fromkeys(("relative", "relative_lo", "relative_hi"), np.nan)
                full["status"] = "cut"
            self.rows.append(full)
            self.kept.append(drawn)

    def frame(self) -> tuple[pd.DataFrame, list[Floats]]:
        """All rows and their draws."""
        return pd.DataFrame(self.rows), self.kept
