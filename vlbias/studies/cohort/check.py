"""What `vlbias check` says of a study of a cohort before a run: which codes are in one file only."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from vlbias.data.cohort_files import codes_of
from vlbias.data.graph import CausalGraph
from vlbias.data.graph_files import read_graph
from vlbias.errors import VlbiasError
from vlbias.studies.check_remarks import Remark
from vlbias.studies.cohort.study import Study

__all__ = ["remarks"]


def remarks(study: Study) -> Iterator[Remark]:
    """Whether the files can be read, and which codes have no counterpart."""
    try:
        table = study.graph
        graph = read_graph(table.paths, relations=table.relations, icd10=table.icd10)
        yield Remark("graph", "ok", f"{len(graph.edges)} edges, {len(graph.drugs)} drugs")
    except VlbiasError as error:
        yield Remark("graph", "wrong", str(error))
        return
    try:
        codes = codes_of(Path(study.cohort.path), study.cohort.patient, study.cohort.cluster)
    except VlbiasError as error:
        yield Remark("cohort", "wrong", str(error))
        return
    if codes is not None:
        yield from _compared(graph, codes)


def _compared(graph: CausalGraph, codes: Collection[str]) -> Iterator[Remark]:
    seen = set(codes).union(*(graph.broader(code) for code in codes))
    lacking, extra = sorted(graph.codes - seen), sorted(set(codes) - graph.codes)
    if lacking:
        yield Remark(
            "codes",
            "note",
            f"{len(lacking)} codes of the graph are not in the cohort: {_few(lacking)}; triples with them are "
            "not tested, and as confounders they are not measured",
        )
    if extra:
        yield Remark(
            "codes",
            "note",
            f"{len(extra)} columns of the cohort are not in the graph: {_few(extra)}; they are not used",
        )
    if not lacking and not extra:
        yield Remark("codes", "ok", "the cohort has all codes of the graph, and no others")


def _few(codes: list[str]) -> str:
    return ", ".join(codes[:5]) + (" …" if len(codes) > 5 else "")
