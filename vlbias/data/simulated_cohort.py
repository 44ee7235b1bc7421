"""Simulated cohorts with planted drug effects: logistic mechanisms on a random graph.

`vlbias.data.simulated_truth` has their true effects.

Every drug has an indication, an outcome that the indication causes, and one of the types of `KINDS`. No real
disease or drug is meant by any name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from vlbias.causal.equation import expit
from vlbias.data.graph import CausalGraph, Triple

__all__ = ["KINDS", "CohortSpec", "World", "make_world", "probability", "simulate"]

KINDS = ("harm", "null_unconfounded", "null_confounded", "protect", "intermediate")
"""What a drug does to its outcome: raises it; nothing; nothing, but its second indication raises it
(confounding by indication); lowers it; raises it, and so does what its indication causes, by
which it is prescribed, too."""
_SECOND = ("harm", "null_confounded")
Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class CohortSpec:
    """A world to simulate.

    Args:
        seed: Of the graph and its strengths.
        drugs: How many; their types follow `kinds` in turn.
        chapters: Of the taxonomy.
        blocks: In a chapter.
        leaves: Diseases in a block.
        kinds: Types of drugs.
    """

    seed: int = 0
    drugs: int = 30
    chapters: int = 6
    blocks: int = 4
    leaves: int = 4
    kinds: tuple[str, ...] = KINDS[:4]


@dataclass(frozen=True)
class World:
    """A graph with strengths.

    Args:
        spec: What was asked for.
        taxonomy: Child to parent.
        causes: Causal edges with a `weight` in log odds; nodes with a `bias`, the log odds without causes.
        hypotheses: Triples, each with its type.
    """

    spec: CohortSpec
    taxonomy: Mapping[str, str]
    causes: nx.DiGraph
    hypotheses: tuple[tuple[Triple, str], ...]

    def graph(self, *, wrong: bool = False) -> CausalGraph:
        """What an analyst knows: all edges but those from drugs to outcomes, which are in question.

        Args:
            wrong: Without the edges from second indications to drug, outcome and first indication, too.
        """
        drugs = {triple.mediator for triple, _ in self.hypotheses}
        hidden = {
            edge
            for triple, kind in self.hypotheses
            if wrong and kind in _SECOND
            for second in self.seconds(triple)
            for edge in (
                (second, code) for code in (triple.mediator, triple.outcome, triple.exposure)
            )
        }
        rows = [(child, "is-a", parent) for child, parent in self.taxonomy.items()]
        rows += [
            (cause, "causes-prescription" if effect in drugs else "causes-onset", effect)
            for cause, effect in self.causes.edges
            if cause not in drugs and (cause, effect) not in hidden
        ]
        return CausalGraph.of(rows, drugs)

    def seconds(self, triple: Triple) -> list[str]:
        """Second indications of a triple's drug."""
        return sorted(set(self.causes.predecessors(triple.mediator)) - {triple.exposure})


def make_world(spec: CohortSpec) -> World:
    """The world of a specification; the same for the same specification."""
    rng = np.random.default_rng(spec.seed)
    taxonomy: dict[str, str] = {}
    leaves: list[str] = []
    for chapter in range(spec.chapters):
        for block in range(spec.blocks):
            taxonomy[f"C{chapter}B{block}"] = f"C{chapter}"
            for leaf in range(spec.leaves):
                taxonomy[f"C{chapter}B{block}L{leaf}"] = f"C{chapter}B{block}"
                leaves.append(f"C{chapter}B{block}L{leaf}")
    rng.shuffle(leaves)
    causes = nx.DiGraph()
    causes.add_nodes_from(leaves)
    for place in range(12, len(leaves)):
        for other in rng.choice(place, size=rng.integers(0, 3), replace=False):
            causes.add_edge(leaves[other], leaves[place], weight=rng.uniform(0.6, 1.4))
    hypotheses = tuple(_drugs(spec, causes, leaves, rng))
    for code in causes:
        low = -3.0 if code.startswith("D") else -3.2
        causes.nodes[code]["bias"] = float(rng.uniform(low, -2.2))
    return World(spec, taxonomy, causes, hypotheses)


def _drugs(
    spec: CohortSpec, causes: nx.DiGraph, leaves: list[str], rng: np.random.Generator
) -> Iterator[tuple[Triple, str]]:
    n = len(leaves)

    def add(cause: str, effect: str, weight: float) -> None:
        if not causes.has_edge(cause, effect):
            causes.add_edge(cause, effect, weight=float(weight))

    for number in range(spec.drugs):
        kind, drug = spec.kinds[number % len(spec.kinds)], f"D{number}"
        place = int(rng.integers(10, n // 2))
        exposure, outcome = leaves[place], leaves[int(rng.integers(2 * n // 3, n))]
        add(exposure, drug, rng.uniform(1.6, 2.6))
        if kind in _SECOND:
            free = [one for one in leaves[:8] if not causes.has_edge(one, outcome)]
            second = free[int(rng.integers(len(free)))]
            add(second, drug, 2.0)
            add(second, outcome, 1.6)
            add(second, exposure, 1.2)
        if kind == "intermediate":
            between = leaves[int(rng.integers(place + 1, 2 * n // 3))]
            add(exposure, between, 1.5)
            add(between, drug, 1.5)
            add(between, outcome, 1.5)
        add(exposure, outcome, rng.uniform(0.5, 1.2))
        effect = {"harm": 1.0, "intermediate": 1.0, "protect": -1.0}.get(kind, 0.0) * rng.uniform(
            0.9, 1.6
        )
        if effect:
            add(drug, outcome, effect)
        yield Triple(exposure, drug, outcome), kind


def simulate(world: World, patients: int, seed: int) -> dict[str, Bits]:
    """Code to 0/1 [patients], of diseases without narrower codes and of drugs."""
    rng = np.random.default_rng(seed)
    found: dict[str, Bits] = {}
    for code in nx.topological_sort(world.causes):
        noise = rng.random(patients, dtype=np.float32)
        found[code] = (noise < probability(world, code, found, patients)).astype(np.uint8)
    return found


def probability(world: World, code: str, values: Mapping[str, Any], n: int) -> NDArray[np.float64]:
    """The probability of a code [n], given those of its causes."""
    eta = np.full(n, world.causes.nodes[code]["bias"])
    for cause in world.causes.predecessors(code):
        eta += world.causes.edges[cause, code]["weight"] * values[cause]
    return expit(eta)
