"""Simulated cohorts and the methods on them: truth against direct simulation, and who finds what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import call

from vlbias.data.simulated_cohort import KINDS, CohortSpec, make_world, simulate
from vlbias.data.simulated_truth import true_effects
from vlbias.errors import BadOption, UnknownName
from vlbias.studies.cohort.benchmark import answers_of_world, benchmark_cohort, scores

FAST = ("graph", "unadjusted", "linear probability", "product of coefficients")


def test_worlds_repeat_and_their_graph_hides_what_is_asked() -> None:
    spec = CohortSpec(seed=4, drugs=8, kinds=KINDS)
    first, again = make_world(spec), make_world(spec)
    assert list(first.causes.edges(data=True)) == list(again.causes.edges(data=True))
    graph = first.graph()
    assert {triple.mediator for triple, _ in first.hypotheses} == graph.drugs
    assert not [edge for edge in graph.causes.edges if edge[0] in graph.drugs]
    wrong = first.graph(wrong=True)
    for triple, kind in first.hypotheses:
        if kind == "null_confounded":
            for second in first.seconds(triple):
                assert graph.causes.has_edge(second, triple.outcome)
                assert not wrong.causes.has_edge(second, triple.outcome)


def test_the_truth_is_that_of_an_experiment() -> None:
    """Assigning exposure at random in the world itself: TE is the difference of the two arms."""
    world = make_world(CohortSpec(seed=2, drugs=5, kinds=KINDS))
    truth = true_effects(world, 40_000)
    for row in truth.to_dict("records"):
        arms = []
        for value in (0, 1):
            fixed = make_world(CohortSpec(seed=2, drugs=5, kinds=KINDS))
            fixed.causes.remove_edges_from(list(fixed.causes.in_edges(row["exposure"])))
            fixed.causes.nodes[row["exposure"]]["bias"] = 50.0 if value else -50.0
            arms.append(simulate(fixed, 40_000, 7 + value)[row["outcome"]].mean())
        assert arms[1] - arms[0] == pytest.approx(row["TE"], abs=0.012)
        assert row["ACME"] + row["ADE"] == pytest.approx(row["TE"], abs=1e-12)
        if row["plant"].startswith("null"):
            assert row["ACME"] == pytest.approx(0, abs=1e-12)
        if row["plant"] in ("harm", "intermediate"):
            assert row["ACME"] > 0.005


def test_the_graph_finds_what_is_there_and_no_adjustment_finds_more() -> None:
    table = answers_of_world(make_world(CohortSpec(0)), 20_000, FAST, truth_patients=20_000)
    found = scores(table).set_index("method")
    assert found.loc["graph", "precision"] >= 0.93
    assert found.loc["graph", "recall"] == 1.0
    assert found.loc["graph", "precision"] - found.loc["unadjusted", "precision"] >= 0.15
    assert found.loc["graph", "coverage"] >= 0.85 > found.loc["unadjusted", "coverage"]
    assert found.loc["graph", "r"] >= 0.99
    assert found.loc["graph", "mae"] <= 0.004
    assert np.isnan(found.loc["product of coefficients", "coverage"])


def test_slow_methods_answer_and_count_what_they_adjust_for() -> None:
    spec = CohortSpec(seed=1, drugs=4, chapters=2, blocks=3, leaves=4)
    table = answers_of_world(
        make_world(spec), 3000, ("graph", "all covariates", "LASSO union"), truth_patients=2000
    )
    count = table.groupby("method")["adjusted_for"].mean()
    assert count["all covariates"] > count["LASSO union"] > 0
    assert count["all covariates"] > count["graph"]
    assert table[["estimate", "lo", "hi", "p"]].notna().all().all()


def test_the_benchmark_keeps_worlds_and_refuses_what_is_unknown(tmp_path: Path) -> None:
    first = benchmark_cohort(tmp_path, worlds=1, patients=2000, methods=("graph", "unadjusted"))
    kept = {path.name: path.stat().st_mtime_ns for path in first.path.parent.glob("world-*.csv")}
    shown = call(
        "benchmark", "cohort", "--patients", 2000, "--methods", "graph,unadjusted", "-o", tmp_path
    )
    assert shown.exit_code == 0, shown.output
    assert "nothing follows for any real drug" in shown.output
    after = {path.name: path.stat().st_mtime_ns for path in first.path.parent.glob("world-*.csv")}
    assert kept == after
    pd.testing.assert_frame_equal(pd.read_csv(first.path), first.table)
    assert first.table["plant"].notna().all(), "no type may look like a missing value in a CSV file"
    assert first.summary["nulls"].tolist() == [15, 15]
    with pytest.raises(UnknownName, match="grahp"):
        benchmark_cohort(tmp_path, methods=("grahp",))
    with pytest.raises(BadOption, match="patients"):
        benchmark_cohort(tmp_path, patients=100)
    with pytest.raises(BadOption, match="worlds"):
        benchmark_cohort(tmp_path, worlds=0)
