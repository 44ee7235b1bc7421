"""A commented study for the two files of a cohort: the patients and the graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vlbias.data.cohort_files import column_names, is_events
from vlbias.data.graph import CausalGraph
from vlbias.data.graph_files import is_graph, read_graph
from vlbias.errors import BadData
from vlbias.studies.start import (
    Start,
    commented_head,
    commented_line,
    path_from,
    refuse_target,
    study_name,
    write_study,
)

__all__ = ["start"]

_TABLES = (".csv", ".tsv", ".parquet")
_TITLE = "every triple of a causal graph, adjusted by the graph."
_SETS = {
    "progression": "outcomes that the exposure causes; or side-effects, both, a table of triples",
    "side-effects": "outcomes that the mediator causes, since none is caused by an exposure",
}


def start(data: Path, model: str | None, out: Path) -> Start:
    """Write a commented study of the cohort and the graph that a folder holds.

    Args:
        data: A folder with one table of patients and at least one file of the graph.
        model: Not read: regressions are fitted to the patients.
        out: The study file.

    Raises:
        BadData: if the folder has not both, the files cannot be read, the graph has no triple, or the study
            file is there already.
        BadTable: if the file cannot be written.
        UnknownName: if an edge is of an unknown type.
    """
    refuse_target(out)
    table, people, graphs = _files(data)
    graph = read_graph(graphs)
    names = column_names(table)
    events = is_events(names)
    patient = "patient" if "patient" in names else names[0]
    hypotheses = _hypotheses(graph)
    remarks = [
        f"{table.name}: {'events' if events else f'{len(names) - 1} columns beside {patient}'}",
        f"{', '.join(path.name for path in graphs)}: {len(graph.edges)} edges, {len(graph.drugs)} drugs",
        f"{len(graph.triples(hypotheses))} triples of the set {hypotheses!r}; vlbias list triples {out.name} "
        "says which can be tested",
    ]
    here, name = out.resolve().parent, study_name(out)
    files = [path_from(path, here) for path in (table, *people)]
    text = _text(
        name, remarks, hypotheses, patient, events, files, [path_from(g, here) for g in graphs]
    )
    write_study(out, text)
    return Start(out, name, remarks)


def _files(folder: Path) -> tuple[Path, list[Path], list[Path]]:
    """The table of patients, that of all people if the first has events, and the files of the graph."""
    if not folder.is_dir():
        raise BadData(f"{folder} is no folder; give the one that holds the cohort and its graph")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    graphs = [path for path in files if is_graph(path)]
    tables = [path for path in files if path.suffix in _TABLES and path not in graphs]
    if not graphs:
        raise BadData(
            f"{folder} has no graph: a table with the columns source, relation and target, or an ontology "
            "(.obo, .owl)"
        )
    tables = [path for path in tables if "patient" in column_names(path)] or tables
    events = [path for path in tables if is_events(column_names(path))]
    if len(tables) == 2 and len(events) == 1:
        return events[0], [path for path in tables if path not in events], graphs
    if len(tables) != 1:
        found = ", ".join(path.name for path in tables) or "none"
        raise BadData(
            f"{folder} should have one table of patients beside the graph ({', '.join(_TABLES)}), or one of "
            f"events and one of people; found: {found}. Move others away, or write the study by hand"
        )
    return tables[0], [], graphs


def _hypotheses(graph: CausalGraph) -> str:
    for hypotheses in _SETS:
        if graph.triples(hypotheses):
            return hypotheses
    raise BadData(
        "the graph has no triple: no code is prescribed for, or caused by, a code that causes something else"
    )


def _text(
    name: str,
    remarks: Sequence[str],
    hypotheses: str,
    patient: str,
    events: bool,
    files: Sequence[str],
    graphs: Sequence[str],
) -> str:
    layout = (
        "events: patient, code, date" if events else "one row a patient; empty cells are missing"
    )
    table, *people = files
    clusters = ['# cluster = "practice"                  # patients who belong together']
    lines = [
        *commented_head(_TITLE, name, remarks),
        'kind = "cohort"',
        commented_line("name", name, "of the run folder, runs/NAME"),
        commented_line("triples", hypotheses, _SETS[hypotheses]),
        commented_line("simulated", False, "true: the page claims nothing of real drugs"),
        "",
        "[cohort]",
        commented_line("path", table, layout),
        commented_line("patient", patient, "column of the patients' ids"),
        *(
            commented_line("people", one, "all patients, also those without an event")
            for one in people
        ),
        *(clusters if people or not events else []),
        "",
        "[graph]",
        commented_line(
            "path", graphs if len(graphs) > 1 else graphs[0], "source, relation, target"
        ),
        "",
        "[estimator]",
        commented_line("interaction", "auto", "exposure × mediator where shown; or always, never"),
        commented_line("min_patients", 10, "fewer with a code or a combination: not tested"),
        "",
        "[controls]",
        commented_line(
            "per_mediator", 2, "outcomes that a mediator cannot cause, drawn by the graph"
        ),
    ]
    return "\n".join(lines) + "\n"
