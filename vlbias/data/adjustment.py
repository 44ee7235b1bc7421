"""What to adjust for, by the graph: a named rule, its result with a reason for each code, and its limits.

Natural effects are identified by covariates C that the exposure A does not change, if C blocks every
back-door path from A to mediator M and outcome Y, and C with A every one from M to Y (Pearl, UAI 2001). Both
are read off the graph by d-separation; the edges A → M, A → Y and M → Y are taken as possible in any case.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import networkx as nx

from vlbias.data.graph import CausalGraph, Triple, cycle_in

__all__ = ["MOST_INTERMEDIATE", "AdjustmentSet", "adjustment_set", "drawn_graph"]

MOST_INTERMEDIATE = 6
"""More intermediate confounders than these give no interventional effect: their states are summed over."""


@dataclass(frozen=True)
class AdjustmentSet:
    """What a triple is adjusted for.

    Args:
        triple: The triple.
        covariates: Codes to adjust for, sorted.
        reasons: Covariate to why it is in.
        dropped: Code to why it is not in, where one could expect it.
        rule: "parents" of exposure, mediator and outcome, or all their "ancestors", where parents are not
            enough; empty if neither is.
        identified: Whether natural effects are identified, if the graph is right.
        reason: Why they are, or are not, in words.
        intermediate: Confounders of mediator and outcome that the exposure causes, causes first; with them
            the interventional effects are identified. Empty if natural effects are, or nothing is.
        testable: Whether there is anything to estimate.
    """

    triple: Triple
    covariates: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    rule: str = ""
    identified: bool = False
    reason: str = ""
    intermediate: tuple[str, ...] = ()
    testable: bool = True

    def __str__(self) -> str:
        lines = [f"{self.triple}: {self.reason}"]
        lines += [f"  adjusted for {code}: {why}" for code, why in self.reasons.items()]
        lines += [f"  not adjusted for {code}: {why}" for code, why in self.dropped.items()]
        return "\n".join(lines)


def adjustment_set(
    graph: CausalGraph, triple: Triple, observed: Collection[str] | None = None
) -> AdjustmentSet:
    """What a triple is adjusted for.

    Args:
        graph: The graph.
        triple: Exposure, mediator and outcome.
        observed: Codes that the cohort has; all, if not given.

    Raises:
        UnknownName: if a code of the triple is not in the graph.
    """
    graph.is_known(triple.exposure, triple.mediator, triple.outcome)
    if why := _untestable(graph, triple):
        return AdjustmentSet(triple, reason=why, testable=False)
    dag = drawn_graph(graph, triple)
    if cycle := cycle_in(dag):
        why = f"not testable: with the triple's own edges the graph has a cycle: {cycle}"
        return AdjustmentSet(triple, reason=why, testable=False)
    seen = set(dag) if observed is None else set(observed)
    return _Rule(dag, triple, seen).result(_dropped(graph, triple, dag, seen))


def drawn_graph(graph: CausalGraph, triple: Triple) -> nx.DiGraph:
    """The part of the graph that matters for a triple: its codes, their causes, no is-a relatives."""
    codes = (triple.exposure, triple.mediator, triple.outcome)
    left_out = frozenset().union(*(graph.relatives(code) for code in codes))
    left_out |= graph.left_out(triple.mediator)
    dag = nx.DiGraph([codes[:2], codes[::2], codes[1:]])
    todo = list(codes)
    while todo:
        effect = todo.pop()
        for cause in graph.causes.pred.get(effect, ()):
            if cause not in left_out:
                todo += [] if cause in dag else [cause]
                dag.add_edge(cause, effect)
    return dag


def _untestable(graph: CausalGraph, triple: Triple) -> str:
    codes = (triple.exposure, triple.mediator, triple.outcome)
    if len(set(codes)) < 3:
        return "not testable: exposure, mediator and outcome must be three codes"
    for place, code in enumerate(codes):
        for other in codes[place + 1 :]:
            if other in graph.relatives(code):
                return f"not testable: {code} and {other} are related by is-a, so one contains the other"
    return ""


def _dropped(graph: CausalGraph, triple: Triple, dag: nx.DiGraph, seen: set[str]) -> dict[str, str]:
    roles = {"exposure": triple.exposure, "mediator": triple.mediator, "outcome": triple.outcome}
    causes = {cause for code in roles.values() for cause in graph.causes.pred.get(code, ())}
    later, drugs = nx.descendants(dag, triple.exposure), graph.left_out(triple.mediator)
    dropped = {}
    for cause in sorted(causes - set(roles.values())):
        for role, code in roles.items():
            if cause in graph.relatives(code):
                dropped[cause] = f"is-a relative of the {role} {code}: one contains the other"
        if cause in dropped:
            continue
        if cause in drugs:
            dropped[cause] = "another drug, in a graph with cycles through drugs"
        elif cause in later:
            dropped[cause] = "the exposure causes it"
        elif cause not in seen:
            dropped[cause] = "not in the cohort"
    return dropped


class _Rule:
    """The rule on one acyclic graph of a triple.

    Args:
        dag: From `drawn_graph`.
        triple: The triple.
        seen: Codes of the cohort.
    """

    def __init__(self, dag: nx.DiGraph, triple: Triple, seen: set[str]) -> None:
        self.dag, self.triple, self.seen = dag, triple, seen
        self.codes = {triple.exposure, triple.mediator, triple.outcome}
        self.later = nx.descendants(dag, triple.exposure)
        self.no_exposure = dag.copy()
        self.no_exposure.remove_edges_from(list(dag.out_edges(triple.exposure)))
        self.no_mediator = dag.copy()
        self.no_mediator.remove_edges_from(list(dag.out_edges(triple.mediator)))

    def result(self, dropped: Mapping[str, str]) -> AdjustmentSet:
        """The first rule that identifies natural effects; else interventional ones; else neither."""
        for rule, covariates in self._candidates():
            if self._blocks(covariates):
                reason = f"identified by adjusting for the {rule} of exposure, mediator and outcome"
                return self._set(covariates, dropped, rule=rule, identified=True, reason=reason)
        between = self._intermediate()
        for rule, covariates in self._candidates():
            if between and self._blocks(covariates, between):
                return self._interventional(covariates, between, dropped, rule)
        _, covariates = next(self._candidates())
        return self._set(covariates, dropped, reason=self._why_not(between))

    def _candidates(self) -> Iterator[tuple[str, frozenset[str]]]:
        causes = {cause for code in self.codes for cause in self.dag.predecessors(code)}
        for rule, codes in (("parents", causes), ("ancestors", set(self.dag))):
            yield rule, frozenset((codes & self.seen) - self.codes - self.later)

    def _blocks(self, covariates: frozenset[str], between: tuple[str, ...] = ()) -> bool:
        """Whether back-door paths are blocked, from the exposure and from the mediator."""
        exposure, mediator, outcome = (
            self.triple.exposure,
            self.triple.mediator,
            self.triple.outcome,
        )
        effects = {mediator, outcome, *between}
        given = covariates | {exposure, *between}
        return bool(
            nx.is_d_separator(self.no_exposure, {exposure}, effects, set(covariates))
            and nx.is_d_separator(self.no_mediator, {mediator}, {outcome}, set(given))
        )

    def _intermediate(self) -> tuple[str, ...]:
        """Causes of mediator and, past it, of outcome that the exposure causes; causes first."""
        of_mediator = nx.ancestors(self.dag, self.triple.mediator)
        of_outcome = nx.ancestors(self.no_mediator, self.triple.outcome)
        found = (of_mediator & of_outcome & self.later) - self.codes
        return tuple(code for code in nx.topological_sort(self.dag) if code in found)

    def _interventional(
        self,
        covariates: frozenset[str],
        between: tuple[str, ...],
        dropped: Mapping[str, str],
        rule: str,
    ) -> AdjustmentSet:
        named = ", ".join(between)
        reason = (
            f"natural effects are not identified: the exposure causes {named}, which confounds mediator and "
            "outcome"
        )
        lacking = [code for code in between if code not in self.seen]
        if lacking:
            reason += f"; {', '.join(lacking)} is not in the cohort, so nothing is identified"
        elif len(between) > MOST_INTERMEDIATE:
            reason += f"; no more than {MOST_INTERMEDIATE} such codes can be summed over"
        else:
            return self._set(
                covariates,
                dropped,
                rule=rule,
                reason=f"{reason}; interventional effects are given instead",
                intermediate=between,
            )
        return self._set(covariates, dropped, reason=reason)

    def _why_not(self, between: tuple[str, ...]) -> str:
        lacking = sorted(set(self.dag) - self.codes - self.later - self.seen)
        if lacking:
            return f"not identified: confounders are not in the cohort: {', '.join(lacking[:5])}"
        named = f" ({', '.join(between)})" if between else ""
        return f"not identified: the exposure causes what confounds mediator and outcome{named}"

    def _set(
        self, covariates: frozenset[str], dropped: Mapping[str, str], **rest: object
    ) -> AdjustmentSet:
        ordered = tuple(sorted(covariates))
        reasons = {code: self._why(code) for code in ordered}
        return AdjustmentSet(self.triple, ordered, reasons, dropped, **rest)  # type: ignore[arg-type]

    def _why(self, code: str) -> str:
        roles = {"exposure": self.triple.exposure, "mediator": self.triple.mediator}
        roles["outcome"] = self.triple.outcome
        direct = [role for role, effect in roles.items() if self.dag.has_edge(code, effect)]
        if direct:
            return f"causes {' and '.join(direct)}"
        ways = [role for role, effect in roles.items() if effect in nx.descendants(self.dag, code)]
        return f"causes {' and '.join(ways)} by way of other codes"
