"""Exported tables in the hands of pandas, DuckDB and R, as each reads a file by default."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from vlbias.cell_texts import cell_text, looks_typed, misread, text_of_cell
from vlbias.data.spellings import refuse_spellings
from vlbias.errors import BadData
from vlbias.files import write_texts
from vlbias.report.csv_files import read_table, table_texts

NAMES = [
    "null", "NA", "N/A", "#N/A", "None", "NaN", "nan", "<NA>", "NULL", "", "TRUE", "false", "T", "yes",
    "1e5", "1E-3", "1d5", "007", "12", "0x1A", "3i", "inf", "-inf", "1_000", "2024-01-02", "10:30",
    "2024-01-02T10:30:00Z", "1/2/2024", "=SUM(A1)", "+x", "-cup", "@S", "'NA", "'=x", "'5", "a,b",
    'q"q', "x\ny", " x ", "a#b", "été", "\\N", "\\", "(none)", "'(none)", "null world", "whole model",
]  # fmt: skip


def r_type(texts: list[str]) -> str:
    """What `read.csv` makes of a column, after the documentation of `type.convert` (R 4.4).

    Missing are "NA" and, but in columns of texts, blanks; then the first of logical, integer, double and
    complex that takes all others.
    """
    there = [t.strip() for t in texts if t != "NA" and t.strip()]
    if all(t in ("T", "F", "TRUE", "FALSE", "true", "false", "True", "False") for t in there):
        return "logical"
    number = r"[+-]?(0[xX][0-9a-fA-F]+|(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?|inf|infinity|nan)"
    if all(re.fullmatch(number, t, re.IGNORECASE) for t in there):
        return "number"
    if all(re.fullmatch(f"({number})?({number})i", t, re.IGNORECASE) for t in there):
        return "complex"
    return "text"


def tables() -> dict[str, pd.DataFrame]:
    """Every name alone, twice, beside a word, and all of them."""
    found = {"all": pd.DataFrame({"object": NAMES, "x": np.arange(len(NAMES)) / 7})}
    for i, name in enumerate(NAMES):
        found[f"alone {i}"] = pd.DataFrame({"object": [name]})
        found[f"twice {i}"] = pd.DataFrame({"object": [name, name], "n": [1, 2]})
        found[f"beside {i}"] = pd.DataFrame({"object": [name, "cup"], "other": ["u", name]})
    return found


def test_no_reader_takes_a_text_for_anything_else(tmp_path: Path) -> None:
    write_texts(table_texts(tmp_path, tables()))
    for name, table in tables().items():
        path = tmp_path / f"{name}.csv"
        pd.testing.assert_frame_equal(read_table(path), table, check_dtype=False)
        written = pd.read_csv(path, dtype=str, keep_default_na=False)
        plain = pd.read_csv(path)
        seen = duckdb.sql(f"select * from read_csv('{path}')").df()
        for column in table.columns.intersection(["object", "other"]):
            texts = written[column].tolist()
            assert plain[column].tolist() == texts, (name, column)
            assert seen[column].tolist() == texts, (name, column)
            assert r_type(texts) == "text"
            assert "NA" not in texts


def test_numbers_truth_and_what_is_missing_are_the_same_everywhere(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "world": ["null", "mask-gender", "both"],
            "mediator": ["", "image_encoder", ""],
            "B": [0.1, np.inf, np.nan],
            "p": [1e-300, 0.05, -1 / 3],
            "n": [0, 5, -7],
            "cut": [True, False, True],
            "admissible": [True, None, False],
            "note": ["a", None, "b"],
        }
    )
    write_texts(table_texts(tmp_path, {"t": table}))
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.csv"), table, check_dtype=False)
    plain = pd.read_csv(tmp_path / "t.csv")
    seen = duckdb.sql(f"select * from read_csv('{tmp_path / 't.csv'}')").df()
    for found in (plain, seen):
        assert found["world"].tolist() == ["null world", "mask-gender", "both"]
        assert found["mediator"].tolist() == ["whole model", "image_encoder", "whole model"]
        np.testing.assert_allclose(found["B"], table["B"])
        np.testing.assert_allclose(found["p"], table["p"], rtol=1e-15)
        assert found["n"].tolist() == [0, 5, -7]
        assert found["cut"].tolist() == [True, False, True]
        assert found["admissible"][0] == True and found["admissible"][2] == False  # noqa: E712, PT018
        assert found["note"].isna().tolist() == [False, True, False]
        assert found["admissible"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize("text", NAMES)
def test_spellings_are_undone(text: str) -> None:
    for words in ({}, {"null": "null world"}, {"": "whole model"}):
        for is_typed in (True, False):
            if looks_typed(text) and text.startswith("'") and not is_typed:
                continue  # in a column with words, all that looks typed and is quoted is spelled
            assert text_of_cell(cell_text(text, words, is_typed=is_typed), words) == text


def test_names_that_no_table_could_give_back_are_refused_at_the_door() -> None:
    for name in (
        "NA",
        "null",
        "None",
        "TRUE",
        "1e5",
        "007",
        "2024-01-02",
        "=SUM(A1)",
        "'x",
        "a\tb",
    ):
        assert misread(name)
        with pytest.raises(BadData, match="would be read as"):
            refuse_spellings((), [name])
    fine = ["cup", "f", "m", "0", "1", "12", "t", "no entry", "hot dog", "3D printer", "NATO"]
    assert not any(misread(name) for name in fine)
    refuse_spellings(["f", "m"], ["cup", "hot dog"])
