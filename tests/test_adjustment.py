"""Adjustment sets: those that the graph calls enough are, by exact enumeration; and every refusal says why."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from brute_force import formula_mean, random_world, true_mean

from vlbias.data.adjustment import adjustment_set
from vlbias.data.graph import CausalGraph, Triple
from vlbias.errors import UnknownName


def graph_of(dag: nx.DiGraph) -> CausalGraph:
    return CausalGraph.of([(a, "causes", b) for a, b in dag.edges])


def test_what_is_called_identified_equals_truncated_factorisation() -> None:
    """Random worlds of seven variables, some unobserved: exact means by enumeration against the formula."""
    rng = np.random.default_rng(0)
    identified = refused = wrong_without = 0
    for _ in range(60):
        world = random_world(rng, 7, 0.45)
        names = ("V2", "V4", "V6")
        graph = graph_of(world.dag)
        if not set(names) <= graph.codes:
            continue
        observed = {code for code in graph.codes if code in names or rng.random() < 0.8}
        found = adjustment_set(graph, Triple(*names), observed)
        arms = [(a, b) for a in (0, 1) for b in (0, 1)]
        if not found.identified:
            refused += 1
            continue
        identified += 1
        assert set(found.covariates) <= observed
        assert not set(found.covariates) & nx.descendants(world.dag, "V2")
        for arm in arms:
            truth = true_mean(world, names, *arm)
            assert formula_mean(world, names, found.covariates, *arm) == pytest.approx(
                truth, abs=1e-12
            )
            wrong_without += abs(formula_mean(world, names, (), *arm) - truth) > 1e-3
    assert identified >= 15
    assert refused >= 10
    assert wrong_without > 10, "the worlds must be such that adjusting matters"


EDGES = [
    ("a", "causes-prescription", "m"),
    ("a", "causes-onset", "y"),
    ("c", "causes-prescription", "m"),
    ("c", "causes-onset", "y"),
    ("w", "causes-onset", "a"),
]


def test_a_second_indication_is_adjusted_for_with_its_reason() -> None:
    found = adjustment_set(CausalGraph.of(EDGES), Triple("a", "m", "y"))
    assert found.identified
    assert found.covariates == ("c", "w")
    assert found.reasons == {"c": "causes mediator and outcome", "w": "causes exposure"}
    assert "adjusted for c: causes mediator and outcome" in str(found)


def test_is_a_relatives_never_enter() -> None:
    edges = [*EDGES, ("a", "is-a", "chapter"), ("chapter", "causes-onset", "y"), ("y1", "is-a", "y"),
             ("y1", "causes-onset", "m"), ("a1", "is-a", "a"), ("a1", "causes-onset", "y")]  # fmt: skip
    found = adjustment_set(CausalGraph.of(edges), Triple("a", "m", "y"))
    assert found.covariates == ("c", "w")
    assert set(found.dropped) == {"chapter", "y1", "a1"}
    assert all("is-a relative" in why for why in found.dropped.values())


def test_intermediate_confounding_gives_interventional_effects() -> None:
    edges = [
        *EDGES,
        ("a", "causes-onset", "l"),
        ("l", "causes-prescription", "m"),
        ("l", "causes-onset", "y"),
    ]
    graph, triple = CausalGraph.of(edges), Triple("a", "m", "y")
    found = adjustment_set(graph, triple)
    assert not found.identified
    assert found.intermediate == ("l",)
    assert "the exposure causes l" in found.reason
    unseen = adjustment_set(graph, triple, {"a", "m", "y", "c", "w"})
    assert unseen.intermediate == ()
    assert "l is not in the cohort" in unseen.reason


def test_a_confounder_that_is_not_observed_is_named() -> None:
    found = adjustment_set(CausalGraph.of(EDGES), Triple("a", "m", "y"), {"a", "m", "y", "w"})
    assert not found.identified
    assert found.reason.startswith("not identified: confounders are not in the cohort: c")
    assert found.dropped["c"] == "not in the cohort"


def test_a_distant_cause_takes_the_place_of_an_unobserved_parent() -> None:
    """The confounder c reaches m through u alone, which nobody observed; c is observed and is enough."""
    edges = [("a", "causes", "m"), ("a", "causes", "y"), ("c", "causes", "u"), ("u", "causes", "m"),
             ("c", "causes", "v"), ("v", "causes", "y")]  # fmt: skip
    found = adjustment_set(CausalGraph.of(edges), Triple("a", "m", "y"), {"a", "m", "y", "c"})
    assert (found.identified, found.rule, found.covariates) == (True, "ancestors", ("c",))
    assert found.reasons["c"] == "causes mediator and outcome by way of other codes"


def test_an_open_path_past_descendants_of_the_exposure_is_seen() -> None:
    """z and v follow from the exposure, and w causes both: no parent of a, m or y, but a confounder."""
    edges = [("a", "causes", "z"), ("z", "causes", "m"), ("w", "causes", "z"), ("w", "causes", "v"),
             ("a", "causes", "v"), ("v", "causes", "y")]  # fmt: skip
    graph, triple = CausalGraph.of(edges), Triple("a", "m", "y")
    found = adjustment_set(graph, triple)
    assert (found.identified, found.rule, found.covariates) == (True, "ancestors", ("w",))
    unseen = adjustment_set(graph, triple, {"a", "m", "y", "z", "v"})
    assert not unseen.identified


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        (("y", "causes-onset", "a"), "cycle: "),
        (("a", "is-a", "y"), "related by is-a"),
    ],
)
def test_what_cannot_be_tested_says_why(extra: tuple[str, str, str], why: str) -> None:
    found = adjustment_set(CausalGraph.of([*EDGES, extra]), Triple("a", "m", "y"))
    assert not found.testable
    assert why in found.reason


def test_a_code_that_is_unknown_is_named() -> None:
    with pytest.raises(UnknownName, match="'aa'"):
        adjustment_set(CausalGraph.of(EDGES), Triple("aa", "m", "y"))


def test_cycles_through_other_drugs_do_not_matter() -> None:
    cycle = [("m2", "causes-onset", "c"), ("c", "causes-prescription", "m2")]
    graph = CausalGraph.of([*EDGES, *cycle])
    found = adjustment_set(graph, Triple("a", "m", "y"))
    assert found.identified
    assert found.covariates == ("c", "w")
    assert not adjustment_set(graph, Triple("c", "m2", "y")).testable
