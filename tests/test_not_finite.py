"""Numbers that are none: refused where they are written, counted where they were written before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vlbias.errors import BadStudy, BadTable
from vlbias.report.funnel import lacking_in_words
from vlbias.store.cell_writer import CellWriter
from vlbias.store.run_folder import Run
from vlbias.studies.bias.study import Study

NAMES = {"contrast": "null->both", "mediator": "text_encoder", "arm": "01", "outcome": "presence"}


def writer(folder: Path) -> CellWriter:
    samples = [("p1", "p1"), ("p2", "p2")]
    return CellWriter(folder, "key", model="m", mitigation="none", samples=samples)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_cell_with_a_score_that_is_no_number_names_it(tmp_path: Path, broken: float) -> None:
    value = np.array([[0.0, 1.0], [0.5, broken]])
    said = (
        "1 of 4 numbers .* contrast 'null->both', mediator 'text_encoder', arm '01', outcome "
        "'presence', sample 'p2', target 'cup' first"
    )
    with pytest.raises(BadTable, match=said):
        writer(tmp_path).add(NAMES, [0, 1], ["dog", "cup"], value)
    writer(tmp_path).add(NAMES, [0, 1], ["dog", "cup"], value, status=["ok", "misaligned"])


def test_scores_that_are_missing_from_a_run_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "cells").mkdir(parents=True)
    cell = writer(folder)
    names = {**NAMES, "mediator": "", "arm": "00"}
    cell.add(names, [0, 1], ["dog", "cup"], np.zeros((2, 2)))
    cell.close()
    table = pq.read_table(cell.path)
    value = pa.array([0.0, np.nan, 1.0, np.inf])
    table = table.set_column(table.schema.get_field_index("value"), "value", value)
    table = table.replace_schema_metadata()  # a cell of 0.1.0, which refused no such number
    pq.write_table(table, cell.path)
    (folder / "manifest.json").write_text(json.dumps({"cells": ["key"], "schema": 1}))
    assert lacking_in_words(Run(folder).statuses) == ["null->both: no number (2 rows)"]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_study_of_numbers_that_are_none_is_refused(number: float) -> None:
    point = {"rule": "given", "thresholds": {"cup": number}}
    with pytest.raises(BadStudy, match=r"operating_point\.thresholds\.cup"):
        Study.parse({"name": "x", "model": "toy", "operating_point": point})
    with pytest.raises(BadStudy, match="min_events"):
        Study.parse({"name": "x", "model": "toy", "operating_point": {"min_events": number}})
