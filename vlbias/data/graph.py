"""A causal knowledge graph: typed edges between codes, the closure of is-a, and questions to it.

Toonsi, Schofield and Hoehndorf (Bioinformatics 2025, btaf661) join a taxonomy of diseases (is-a) with causal
edges of two types: a disease or a drug causes the onset of a disease, a disease causes a prescription.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import pandas as pd

from vlbias.errors import BadData, UnknownName

__all__ = ["HYPOTHESES", "RELATIONS", "CausalGraph", "Triple", "relation_named"]

RELATIONS = ("is-a", "causes", "causes-onset", "causes-prescription")
"""Types of edges; "causes" is a causal edge of no particular type."""
HYPOTHESES = ("progression", "side-effects", "both")
"""Sets of triples: outcomes that the exposure causes, outcomes that the mediator causes, or either."""

_ALIASES = {"isa": "is-a", "subclass-of": "is-a", "rdfs:subclassof": "is-a", "subclassof": "is-a"}


@dataclass(frozen=True, order=True, slots=True)
class Triple:
    """One question: does the mediator mediate the effect of the exposure on the outcome?

    Args:
        exposure: Code of the exposure, an indication for example.
        mediator: Code of the mediator, a drug for example.
        outcome: Code of the outcome, a later disease for example.
    """

    exposure: str
    mediator: str
    outcome: str

    def __str__(self) -> str:
        return f"{self.exposure} → {self.mediator} → {self.outcome}"


@dataclass(frozen=True)
class CausalGraph:
    """Typed edges between codes.

    Args:
        edges: Columns source, relation (one of `RELATIONS`) and target, one row an edge.
        drugs: Codes that are drugs, beside those that a prescription edge leads to.

    Raises:
        UnknownName: if a relation is none of `RELATIONS`.
        BadData: if is-a has a cycle; names it.
    """

    edges: pd.DataFrame
    given_drugs: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for relation in sorted(set(self.edges["relation"])):
            relation_named(relation)
        if cycle := cycle_in(self.taxonomy):
            raise BadData(f"is-a has a cycle: {cycle}; remove one of its edges from the graph")

    @classmethod
    def of(cls, edges: Iterable[tuple[str, str, str]], drugs: Collection[str] = ()) -> CausalGraph:
        """The graph of (source, relation, target) rows; relations as `relation_named` reads them."""
        rows = [(source, relation_named(kind), target) for source, kind, target in edges]
        frame = pd.DataFrame(rows, columns=["source", "relation", "target"])
        return cls(frame.drop_duplicates(ignore_index=True), frozenset(drugs))

    @cached_property
    def causes(self) -> nx.DiGraph:
        """All causal edges, from cause to effect."""
        return self._graph(self.edges["relation"] != "is-a")

    @cached_property
    def taxonomy(self) -> nx.DiGraph:
        """All is-a edges, from the narrower code to the broader."""
        return self._graph(self.edges["relation"] == "is-a")

    def _graph(self, chosen: pd.Series[bool]) -> nx.DiGraph:
        rows = self.edges[chosen]
        return nx.DiGraph(list(zip(rows["source"], rows["target"], strict=True)))

    @cached_property
    def codes(self) -> frozenset[str]:
        """Every code of the graph."""
        return frozenset(self.edges["source"]) | frozenset(self.edges["target"])

    @cached_property
    def drugs(self) -> frozenset[str]:
        """Codes that are drugs: typed so, or prescribed."""
        prescribed = self.edges[self.edges["relation"] == "causes-prescription"]
        return self.given_drugs | frozenset(prescribed["target"])

    def broader(self, code: str) -> frozenset[str]:
        """Every code that a code is, by the closure of is-a; without itself."""
        return frozenset(nx.descendants(self.taxonomy, code) if code in self.taxonomy else ())

    def narrower(self, code: str) -> frozenset[str]:
        """Every code that is a code, by the closure of is-a; without itself."""
        return frozenset(nx.ancestors(self.taxonomy, code) if code in self.taxonomy else ())

    def relatives(self, code: str) -> frozenset[str]:
        """Broader and narrower codes: their patients overlap with those of the code by definition."""
        if code not in self._relatives:
            self._relatives[code] = self.broader(code) | self.narrower(code)
        return self._relatives[code]

    @cached_property
    def _relatives(self) -> dict[str, frozenset[str]]:
        return {}

    def is_known(self, *codes: str) -> None:
        """Refuse codes that are not in the graph.

        Raises:
            UnknownName: names the first, with suggestions.
        """
        for code in codes:
            if code not in self.codes:
                raise UnknownName("code of the graph", code, self.codes)

    @cached_property
    def _is_acyclic(self) -> bool:
        return bool(nx.is_directed_acyclic_graph(self.causes))

    def left_out(self, mediator: str) -> frozenset[str]:
        """Codes whose causal edges are not used where a mediator is studied.

        None, if the causal edges have no cycle. Else all other drugs: drugs are prescribed for what other
        drugs cause, so that cycles run through them.
        """
        return frozenset() if self._is_acyclic else self.drugs - {mediator}

    def triples(self, hypotheses: str = "both") -> list[Triple]:
        """Every triple of a set of hypotheses, sorted; the mediators are the drugs.

        In a graph without drugs, every effect of the exposure can be the mediator.

        Args:
            hypotheses: One of `HYPOTHESES`.

        Raises:
            UnknownName: if there is no such set.
        """
        if hypotheses not in HYPOTHESES:
            raise UnknownName("set of hypotheses", hypotheses, HYPOTHESES)
        mediators = sorted(self.drugs if self.drugs else self.causes)
        return sorted({triple for code in mediators for triple in self._of(code, hypotheses)})

    def _of(self, mediator: str, hypotheses: str) -> Iterator[Triple]:
        if mediator not in self.causes:
            return
        caused = set(self.causes.successors(mediator))
        for exposure in self.causes.predecessors(mediator):
            outcomes = set[str]()
            if hypotheses in ("progression", "both"):
                outcomes |= set(self.causes.successors(exposure))
            if hypotheses in ("side-effects", "both"):
                outcomes |= caused
            for outcome in outcomes - self.drugs - {exposure, mediator}:
                yield Triple(exposure, mediator, outcome)

    def without(self, edges: Collection[tuple[str, str]]) -> CausalGraph:
        """The graph without these causal (source, target) edges."""
        gone, columns = set(edges), ("source", "relation", "target")
        rows = zip(*(self.edges[name] for name in columns), strict=True)
        kept = [row for row in rows if row[1] == "is-a" or (row[0], row[2]) not in gone]
        return CausalGraph.of(kept, self.drugs)


def relation_named(text: str, own: Mapping[str, str] | None = None) -> str:
    """The type of an edge: "Causes onset" and "causes_onset" are "causes-onset".

    Args:
        text: As a file has it.
        own: Further names, each to one of `RELATIONS`.

    Raises:
        UnknownName: if it is none, with suggestions.
    """
    if own and text in own:
        return relation_named(own[text])
    plain = "-".join(text.strip().lower().replace("_", " ").replace("-", " ").split())
    plain = _ALIASES.get(plain, plain)
    if plain not in RELATIONS:
        raise UnknownName("type of edge", text, RELATIONS)
    return plain


def cycle_in(graph: nx.DiGraph) -> str:
    """A cycle of a graph in words, "a → b → a"; empty if there is none."""
    if nx.is_directed_acyclic_graph(graph):
        return ""
    found = nx.find_cycle(graph)
    return " → ".join([str(edge[0]) for edge in found] + [str(found[0][0])])
