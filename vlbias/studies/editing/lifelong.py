"""Edits of one method, one after another, kept on the way so that a kill loses one edit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlbias.causal.turns import in_turn
from vlbias.edits.change import Change, kept
from vlbias.edits.memit import Memit
from vlbias.edits.methods import method_of
from vlbias.edits.rank_one import Context
from vlbias.edits.weights import OutputMap
from vlbias.errors import BadData
from vlbias.files import whole
from vlbias.studies.editing.asking import Before, harmonic, shifts
from vlbias.studies.editing.plan import EditSequence

__all__ = ["Lifelong"]

_SHIFTED = 20
"""Facts at which the shift of a map's output is compared with what is predicted."""


@dataclass
class _Kept:
    """Where a sequence stands."""

    edits: list[dict[str, Any]]
    checks: list[dict[str, Any]]
    values: dict[str, Tensor]


class Lifelong:
    """One sequence.

    Args:
        model: A causal language model, unedited; left as it is.
        part: Method and protocol.
        before: What the unedited model says.
        context: Moments and prefixes, of the unedited model.
        points: Checkpoints.
        seed: Of what a method draws.
        state: File in which the sequence is kept on the way.
    """

    def __init__(
        self,
        model: Any,
        part: EditSequence,
        before: Before,
        context: Context,
        points: tuple[int, ...],
        seed: int,
        state: Path,
    ) -> None:
        self.model, self.part, self.before, self.context = model, part, before, context
        self.points, self.seed, self.state = points, seed, state
        self.method = method_of(part.method.name, part.method.options, part.method.search)
        self.maps: list[OutputMap] = self.method.maps(model)
        self.start = {one.name: one.weight.clone() for one in self.maps}

    def run(self, told: Callable[[int], None] = lambda done: None) -> dict[str, Any]:
        """All edits, those that were made before left out; gives rows of edits and of checkpoints."""
        with in_turn(self.model), kept(self.model.net, [one.name for one in self.maps]):
            now = self._resumed()
            for number in range(len(now.edits), len(self.before.edited)):
                now.edits.append(self._edit(number))
                if number + 1 in self.points:
                    now.checks.append(self._check(now.edits))
                self._save(now)
                told(number + 1)
        self.state.unlink(missing_ok=True)
        return {"edits": now.edits, "checks": now.checks}

    def _fit(self, number: int, answer: str, site: str | None = None) -> Change:
        fact, method = self.before.edited[number], self.method
        if isinstance(method, Memit):
            return method.fit(self.model, [(fact, answer)], self.context)
        if site is not None:
            method = replace(method, sites=(site,), rule="fixed", effects=())
        rng = np.random.default_rng([self.seed, number])
        return method.fit(self.model, fact, answer, self.context, rng=rng)

    def _edit(self, number: int) -> dict[str, Any]:
        fact = self.before.edited[number]
        change = self._fit(number, fact.target)
        predicted, measured = self._shifts(change)
        change.write(self.model.net)
        said = self.before.after_edit(self.model, number)
        row = {
            "number": number + 1,
            "sample_id": fact.id,
            **{name: change.notes[name] for name in ("site", "cost", "loss", "seconds")},
            "predicted_shift": predicted,
            "measured_shift": measured,
            **said,
        }
        if self.part.protocol == "roll-back":
            back = self._fit(number, fact.answer, change.notes["site"])
            back.write(self.model.net)
            row["back_cost"] = back.notes["cost"]
        return row

    def _shifts(self, change: Change) -> tuple[float | None, float | None]:
        touched = [one for one in self.maps if one.name in change.values]
        if len(touched) > 1:  # what an earlier layer changes is not predicted
            return None, None
        return shifts(self.model, touched[0], change, self.before.probes[:_SHIFTED])

    def _check(self, edits: list[dict[str, Any]]) -> dict[str, Any]:
        done = len(edits)
        keeps = self.part.protocol == "sequence"
        found = self.before.at_checkpoint(self.model, done, keeps_target=keeps)
        means = {
            name: _mean([row[name] for row in edits])
            for name in ("edit_success", "generalisation", "locality")
        }
        five = [*means.values(), found["edited_right"], found["unedited_right"]]
        return {"edits": done, **means, **found, "score": harmonic(five), "drift": self._drift()}

    def _drift(self) -> dict[str, float]:
        return {
            str(one.site): float(
                (one.weight - self.start[one.name]).norm() / self.start[one.name].norm()
            )
            for one in self.maps
        }

    def _save(self, now: _Kept) -> None:
        self.state.parent.mkdir(parents=True, exist_ok=True)
        rows = json.dumps({"edits": now.edits, "checks": now.checks})
        values = {one.name: self.model.net.get_parameter(one.name).detach() for one in self.maps}
        with whole(self.state) as temporary:
            torch.save({"rows": rows, "values": values}, temporary)

    def _resumed(self) -> _Kept:
        if not self.state.is_file():
            return _Kept([], [], {})
        try:
            held = torch.load(self.state, weights_only=True)
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            raise BadData(
                f"{self.state}: the edits made so far cannot be read ({error}); delete the file to begin anew"
            ) from error
        Change(held["values"]).write(self.model.net)
        return _Kept(**json.loads(held["rows"]), values=held["values"])


def _mean(values: list[float]) -> float:
    """Mean of those that are numbers: a fact without paraphrases or neighbours has none."""
    there = [value for value in values if not np.isnan(value)]
    return float(np.mean(there)) if there else float("nan")
