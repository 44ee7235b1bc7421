"""The true effects of a simulated world, by running it in every world of exposure and mediator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vlbias.data.graph import Triple
from vlbias.data.simulated_cohort import World, probability

__all__ = ["true_effects"]

Floats = NDArray[np.float64]


def true_effects(world: World, patients: int = 100_000, seed: int = 99) -> pd.DataFrame:
    """The true effects of every hypothesis.

    All worlds of a patient share the noise of every variable but mediator and outcome, over which the
    expectation is taken (Rao-Blackwell), so that the simulation error is small.

    Args:
        world: The world.
        patients: How many are simulated.
        seed: Of their noise.

    Returns:
        Columns exposure, mediator, outcome, plant, Y00, Y01, Y10, Y11, ACME, ADE, TE, se (the simulation error
        of ACME), and ACME_interventional, where what the exposure causes is drawn anew for the mediator.
    """
    rng = np.random.default_rng(seed)
    order = list(nx.topological_sort(world.causes))
    noise = {code: rng.random(patients, dtype=np.float32) for code in order}
    base: dict[str, Any] = {}
    for code in order:
        base[code] = noise[code] < probability(world, code, base, patients)
    rows = []
    for triple, kind in world.hypotheses:
        runs = _Runs(world, triple, base, noise, patients)
        rows.append({**_named(triple), "plant": kind, **runs.effects(rng)})
    return pd.DataFrame(rows)


def _named(triple: Triple) -> dict[str, str]:
    return {
        "exposure": triple.exposure,
        "mediator": triple.mediator,
        "outcome": triple.outcome,
    }


class _Runs:
    """Runs of the part of a world that an exposure changes.

    Args:
        world: The world.
        triple: Exposure, mediator, outcome.
        base: Values of all codes without intervention.
        noise: Of all codes.
        n: Patients.
    """

    def __init__(
        self,
        world: World,
        triple: Triple,
        base: Mapping[str, Any],
        noise: Mapping[str, Any],
        n: int,
    ) -> None:
        self.world, self.triple, self.base, self.noise, self.n = world, triple, base, noise, n
        causes = world.causes
        ends = {triple.mediator, triple.outcome}
        matter = ends.union(*(nx.ancestors(causes, end) for end in ends))
        later = nx.descendants(causes, triple.exposure) & matter
        self.order = [code for code in nx.topological_sort(causes.subgraph(later))]

    def effects(self, rng: np.random.Generator) -> dict[str, float]:
        """The four means and what follows of them."""
        chances = [self.chance(self.triple.mediator, world, self.noise) for world in (0, 1)]
        risk = {
            (world, state): self.chance(self.triple.outcome, world, self.noise, state)
            for world in (0, 1)
            for state in (0, 1)
        }
        arms = self._arms(chances, risk)
        others = set(self.order) - {self.triple.mediator, self.triple.outcome}
        fresh = {**self.noise} | {code: rng.random(self.n, dtype=np.float32) for code in others}
        drawn = [self.chance(self.triple.mediator, world, fresh) for world in (0, 1)]
        acme = (arms["Y11"] - arms["Y10"] + arms["Y01"] - arms["Y00"]) / 2
        means = {name: float(values.mean()) for name, values in arms.items()}
        again = self._arms(drawn, risk)
        return {
            **means,
            "ACME": float(acme.mean()),
            "ADE": means["Y11"] - means["Y00"] - float(acme.mean()),
            "TE": means["Y11"] - means["Y00"],
            "se": float(acme.std() / self.n**0.5),
            "ACME_interventional": float(
                (again["Y11"] - again["Y10"] + again["Y01"] - again["Y00"]).mean() / 2
            ),
        }

    @staticmethod
    def _arms(chances: list[Floats], risk: Mapping[tuple[int, int], Floats]) -> dict[str, Floats]:
        return {
            f"Y{a}{b}": chances[b] * risk[a, 1] + (1 - chances[b]) * risk[a, 0]
            for a in (0, 1)
            for b in (0, 1)
        }

    def chance(
        self, code: str, exposure: int, noise: Mapping[str, Any], mediator: int | None = None
    ) -> Floats:
        """The probability of a code, [patients], under the exposure and, if given, the mediator."""
        values = {**self.base, self.triple.exposure: np.float64(exposure)}
        for one in self.order:
            if mediator is not None and one == self.triple.mediator:
                values[one] = np.float64(mediator)
                continue
            found = probability(self.world, one, values, self.n)
            if one == code:
                return found
            values[one] = noise[one] < found
        raise KeyError(code)
