"""Cohorts: wide tables and events, sparse, with the observation map, time, and missing values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vlbias.data.cohort import ObservationMap
from vlbias.data.cohort_files import cohort_of, read_cohort
from vlbias.data.cohort_rows import TimeRule, triple_rows
from vlbias.data.graph import CausalGraph, Triple
from vlbias.errors import BadData, UnknownName

TRIPLE = Triple("a", "m", "y")


def test_the_observation_map_is_a_union_monotone_and_idempotent() -> None:
    """D1: patients of a code are those of all narrower codes, exactly."""
    rng = np.random.default_rng(0)
    leaves = [f"l{number}" for number in range(12)]
    frame = pd.DataFrame({leaf: (rng.random(300) < 0.1).astype(int) for leaf in leaves})
    edges = [(leaf, "is-a", f"b{number // 3}") for number, leaf in enumerate(leaves)]
    edges += [(f"b{number}", "is-a", f"c{number // 2}") for number in range(4)]
    edges += [("l0", "is-a", "b3")]  # two parents
    graph = CausalGraph.of(edges)
    seen = ObservationMap(cohort_of(frame), graph)
    for code in graph.codes:
        members = [leaf for leaf in leaves if leaf == code or code in graph.broader(leaf)]
        union = np.flatnonzero(frame[members].any(axis=1))
        assert (seen.patients(code) == union).all()
        assert (np.flatnonzero(seen.values(code)) == union).all()
        for broad in graph.broader(code):
            assert set(seen.patients(code)) <= set(seen.patients(broad))
    closed = pd.DataFrame({code: seen.values(code) for code in sorted(graph.codes)})
    again = ObservationMap(cohort_of(closed), graph)
    for code in graph.codes:
        assert (again.patients(code) == seen.patients(code)).all()


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_wide_tables_keep_codes_sparse_and_numbers_dense(tmp_path: Path, ending: str) -> None:
    frame = pd.DataFrame(
        {
            "patient": ["p1", "p2", "p3"],
            "a": [0, 1, 1],
            "age": [40.5, 60.0, np.nan],
            "b": [1, np.nan, 0],
        }
    )
    path = tmp_path / f"cohort.{ending}"
    if ending == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if ending == "tsv" else ",")
    cohort = read_cohort(path)
    assert cohort.codes == ("a", "b")
    assert cohort.matrix.nnz == 3
    assert list(cohort.patients) == ["p1", "p2", "p3"]
    assert {code: list(rows) for code, rows in cohort.missing.items()} == {"age": [2], "b": [1]}
    seen = ObservationMap(cohort)
    assert np.array_equal(seen.values("b"), [1, np.nan, 0], equal_nan=True)
    assert np.array_equal(seen.values("age"), [40.5, 60, np.nan], equal_nan=True)


def test_a_column_becomes_numbers_late(tmp_path: Path) -> None:
    """After 20,000 rows of 0 and 1 and missing ones, the first 2."""
    values = np.tile([0.0, 1.0], 12_000)
    values[[5, 23_999]] = np.nan, 2.0
    frame = pd.DataFrame({"patient": np.arange(24_000).astype(str), "a": values})
    frame.to_parquet(tmp_path / "cohort.parquet")
    cohort = read_cohort(tmp_path / "cohort.parquet")
    assert np.array_equal(cohort.numbers["a"], values, equal_nan=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,a\n1,0\n", "no column 'patient'.*columns are id, a"),
        ("patient,a\n1,0\n2,1\n1,1\n", "more than one row for 1 patients, 1 first"),
        ("patient,a\n1,0\n,1\n", "row 3: a patient without an id"),
        ("patient,a,a\n1,0,1\n", "columns that repeat: a"),
        ("patient,a\n1,yes\n", "yes"),
        ("patient,a\n", "no row"),
        ("patient;a\n1;0\n", "one column, 'patient;a'.*separated by commas"),
        ("patient,code,date\n1,a,2020-01-05\n1,b,05/01/2020\n", "row 3: '05/01/2020' is no date"),
        ("patient,code,date\n1,,2020-01-05\n", "row 2: no code"),
        ("patient,code,date\n", "no event"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "cohort.csv"
    path.write_text(text)
    with pytest.raises(BadData, match=said):
        read_cohort(path)


def test_missing_values_are_counted_and_left_out_of_their_triples() -> None:
    frame = pd.DataFrame(
        {"a": [0, 1, 0, 1.0], "m": [0, 1, np.nan, 1], "y": [0, 1, 1, 0.0], "c": [1, np.nan, 0, 0]}
    )
    seen = ObservationMap(cohort_of(frame))
    plain = triple_rows(seen, TRIPLE, ())
    assert (list(plain.rows), plain.left_out) == ([0, 1, 3], {"missing values": 1})
    adjusted = triple_rows(seen, TRIPLE, ("c",))
    assert (list(adjusted.rows), adjusted.left_out) == ([0, 3], {"missing values": 2})
    with pytest.raises(UnknownName, match="code of the cohort"):
        triple_rows(seen, TRIPLE, ("d",))


EVENTS = """patient,code,date
1,a,2020-01-10
1,m,2020-01-10
1,y,2020-03-01
2,a,2020-01-10
2,y,2020-01-10
3,a,2020-02-01
3,m,2020-01-01
4,a,2020-01-10
4,y,2020-02-01
4,m,2020-03-01
5,m,2020-05-01
5,c,2020-01-01
6,y,2020-05-01
6,c,2020-06-01
1,c,2020-01-01
1,l,2020-01-10
1,a,2021-01-01
"""


def events(folder: Path, **options: str) -> ObservationMap:
    path = folder / "events.csv"
    path.write_text(EVENTS)
    return ObservationMap(read_cohort(path, **options))


def test_time_orders_events(tmp_path: Path) -> None:
    """Patient 2 had the outcome, 3 the mediator; 4 got the mediator after the outcome; c came late for 6."""
    seen = events(tmp_path)
    found = triple_rows(seen, TRIPLE, ("c",), ("l",))
    assert [seen.cohort.patients[row] for row in found.rows] == ["1", "4", "5", "6"]
    assert found.left_out == {"outcome before the exposure": 1, "mediator before the exposure": 1}
    assert found.columns["a"].tolist() == [1, 1, 0, 0]
    assert found.columns["m"].tolist() == [1, 0, 1, 0]
    assert found.columns["y"].tolist() == [1, 1, 0, 1]
    assert found.columns["c"].tolist() == [1, 0, 1, 0]
    assert found.columns["l"].tolist() == [0, 0, 0, 0], (
        "on the day of the mediator is not before it"
    )


def test_washout_and_baseline(tmp_path: Path) -> None:
    seen = events(tmp_path)
    washed = triple_rows(seen, TRIPLE, (), (), TimeRule(washout_days=30))
    assert [seen.cohort.patients[row] for row in washed.rows] == ["1", "5", "6"]
    day = int(np.datetime64("2020-01-05").astype("datetime64[D]").astype(int))
    based = triple_rows(seen, TRIPLE, ("c",), (), TimeRule(baseline=day))
    assert "3" not in [seen.cohort.patients[row] for row in based.rows]
    assert based.columns["c"].tolist() == [1, 0, 1, 0]


def test_people_without_events_count(tmp_path: Path) -> None:
    people = tmp_path / "people.csv"
    people.write_text(
        "patient,age,practice\n" + "".join(f"{n},{40 + n},x{n % 2}\n" for n in range(1, 9))
    )
    seen = events(tmp_path, people=str(people), cluster="practice")
    assert len(seen.cohort) == 8
    assert len(seen.cohort.clusters) == 8
    assert triple_rows(seen, TRIPLE, ("age",)).columns["age"].tolist() == [41, 44, 45, 46, 47, 48]
    people.write_text("patient,age\n1,40\n")
    with pytest.raises(BadData, match="'2' is not in the table of people"):
        events(tmp_path, people=str(people))


def test_a_triple_without_patients_says_why(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("patient,code,date\n1,a,2020-02-01\n1,y,2020-01-01\n1,m,2020-05-01\n")
    with pytest.raises(BadData, match=r"no patient is left \(outcome before the exposure: 1\)"):
        triple_rows(ObservationMap(read_cohort(path)), TRIPLE, ())
