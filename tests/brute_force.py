"""Small worlds of 0/1 variables with known tables: exact effects by truncated factorisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import networkx as nx
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TinyWorld:
    """A DAG over 0/1 variables with a table of P(1 | parents) for each."""

    dag: nx.DiGraph
    tables: Mapping[str, Mapping[tuple[int, ...], float]]

    @property
    def order(self) -> list[str]:
        return list(nx.lexicographical_topological_sort(self.dag))

    def chance(self, code: str, values: Mapping[str, int]) -> float:
        parents = sorted(self.dag.predecessors(code))
        return self.tables[code][tuple(values[parent] for parent in parents)]

    def joint(self, do: Mapping[str, int]) -> NDArray[np.float64]:
        """Probabilities of all states, an axis a code: the truncated factorisation."""
        order = self.order
        array = np.zeros((2,) * len(order))
        for bits in product((0, 1), repeat=len(order)):
            values = dict(zip(order, bits, strict=True))
            weight = float(all(values[code] == set_to for code, set_to in do.items()))
            for code in order:
                if weight and code not in do:
                    chance = self.chance(code, values)
                    weight *= chance if values[code] else 1 - chance
            array[bits] = weight
        return array

    def mass(self, joint: NDArray[np.float64], known: Mapping[str, int]) -> float:
        """The probability of some values under a joint distribution."""
        index = tuple(known.get(code, slice(None)) for code in self.order)
        return float(joint[index].sum())


def random_world(rng: np.random.Generator, size: int, density: float) -> TinyWorld:
    """A random world over V0 … in causal order."""
    codes = [f"V{number}" for number in range(size)]
    dag = nx.DiGraph()
    dag.add_nodes_from(codes)
    for later in range(size):
        for earlier in range(later):
            if rng.random() < density:
                dag.add_edge(codes[earlier], codes[later])
    tables = {
        code: {
            state: float(rng.uniform(0.1, 0.9))
            for state in product((0, 1), repeat=dag.in_degree(code))
        }
        for code in codes
    }
    return TinyWorld(dag, tables)


def true_mean(world: TinyWorld, names: tuple[str, str, str], a: int, b: int) -> float:
    """E Y(a, M(b)) where no descendant of the exposure causes both: given all that it does not change."""
    exposure, mediator, outcome = names
    later = {exposure, mediator, outcome}.union(
        nx.descendants(world.dag, exposure), nx.descendants(world.dag, mediator)
    )
    before = [code for code in world.order if code not in later]
    joint, under_b = world.joint({}), world.joint({exposure: b})
    under_a = [world.joint({exposure: a, mediator: m}) for m in (0, 1)]
    total = 0.0
    for fixed in product((0, 1), repeat=len(before)):
        known = dict(zip(before, fixed, strict=True))
        for m in (0, 1):
            chance = _ratio(world, under_b, {mediator: m}, known)
            risk = _ratio(world, under_a[m], {outcome: 1}, known)
            total += world.mass(joint, known) * chance * risk
    return total


def formula_mean(
    world: TinyWorld, names: tuple[str, str, str], covariates: Sequence[str], a: int, b: int
) -> float:
    """The mediation formula, from the observed joint distribution alone."""
    exposure, mediator, outcome = names
    joint = world.joint({})
    total = 0.0
    for fixed in product((0, 1), repeat=len(covariates)):
        known = dict(zip(covariates, fixed, strict=True))
        for m in (0, 1):
            chance = _ratio(world, joint, {mediator: m}, {**known, exposure: b})
            risk = _ratio(world, joint, {outcome: 1}, {**known, exposure: a, mediator: m})
            total += world.mass(joint, known) * chance * risk
    return total


def _ratio(
    world: TinyWorld,
    joint: NDArray[np.float64],
    event: Mapping[str, int],
    given: Mapping[str, int],
) -> float:
    return world.mass(joint, {**given, **event}) / world.mass(joint, given)
