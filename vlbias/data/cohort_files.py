"""Cohorts from files: a wide table with one row a patient, or a table of events. CSV or Parquet."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import sparse

from vlbias.data.cohort import Cohort, ObservationMap
from vlbias.data.cohort_columns import SparseColumns
from vlbias.errors import BadData
from vlbias.files import hash_of_file

__all__ = ["codes_of", "cohort_of", "column_names", "is_events", "read_cohort"]

_ROWS = 20_000
_EVENT_COLUMNS = ("code", "date")


def read_cohort(
    path: Path | str,
    *,
    patient: str = "patient",
    cluster: str | None = None,
    people: Path | str | None = None,
) -> Cohort:
    """The cohort in a file.

    A table with columns code and date (and one of patients) is a table of events; every other one is wide:
    one row a patient, a column for each code. Columns of 0 and 1 are held sparse, others as numbers. Empty
    cells are missing values.

    Args:
        path: A .csv, .tsv or .parquet file.
        patient: The column with the patients' ids.
        cluster: A column that tells which patients belong together, a practice for example.
        people: Beside a table of events, a wide table of all patients: those without an event are known
            from it, and its other columns (age, sex, cluster) are taken over.

    Raises:
        BadData: if the file is missing, no table, has a patient twice, or a cell that is no number or date;
            names the file and the place.
    """
    path = Path(path)
    if not path.is_file():
        raise BadData(f"{path} is no file; name the table of the cohort")
    names = column_names(path)
    if patient not in names and len(names) == 1:
        raise BadData(
            f"{path} has one column, {names[0]!r}, when read with its separator; columns of a .csv file are "
            "separated by commas, of a .tsv file by tabs"
        )
    if patient not in names:
        raise BadData(
            f"{path} has no column {patient!r} with the patients' ids; its columns are "
            f"{', '.join(names[:10])}{' …' if len(names) > 10 else ''}. Name it with `patient`"
        )
    files = {path.name: hash_of_file(path)}
    if is_events(names):
        if people is not None:
            return _events(
                path, patient, files, read_cohort(people, patient=patient, cluster=cluster)
            )
        if cluster is not None:
            raise BadData(f"{path} is a table of events; clusters stand in the table of `people`")
        return _events(path, patient, files, None)
    if people is not None:
        raise BadData(f"{path} has one row a patient; `people` goes with a table of events")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadData(f"{path} has columns that repeat: {', '.join(twice[:5])}; keep one of each")
    if cluster is not None and cluster not in names:
        raise BadData(f"{path} has no column {cluster!r} with clusters")
    return _wide(path, names, patient, cluster, files)


def cohort_of(frame: pd.DataFrame) -> Cohort:
    """The cohort of a frame in memory: a row a patient, a column for each code; its index are the ids."""
    table = pa.Table.from_pandas(frame.astype(float), preserve_index=False)
    builder = SparseColumns(list(frame.columns), "the frame")
    for batch in table.to_batches(_ROWS):
        builder.add(batch)
    return builder.cohort(np.asarray(frame.index, dtype=object), None, {})


def codes_of(path: Path, patient: str, cluster: str | None) -> frozenset[str] | None:
    """The columns of a wide table, of which only the head is read; None for a table of events.

    Raises:
        BadData: if the file is missing, or no table.
    """
    if not path.is_file():
        raise BadData(f"{path} is no file; name the table of the cohort")
    names = column_names(path)
    return None if is_events(names) else frozenset(names) - {patient, cluster}


def is_events(names: Collection[str]) -> bool:
    """Whether a table with these columns is one of events, not one with a row a patient."""
    return set(_EVENT_COLUMNS) <= set(names)


def column_names(path: Path) -> list[str]:
    """The columns of a table in CSV, TSV or Parquet, of which only the head is read.

    Raises:
        BadData: if it cannot be read.
    """
    if path.suffix == ".parquet":
        try:
            return list(pq.read_schema(path).names)
        except (OSError, pa.ArrowException) as error:
            raise BadData(f"{path} cannot be read as Parquet ({error})") from error
    try:
        with path.open(encoding="utf-8-sig") as file:
            head = file.readline()
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"{path} cannot be read as text in UTF-8 ({error})") from error
    return [str(name) for name in next(iter(_parsed(head, path)), [])]


def _parsed(head: str, path: Path) -> Iterator[list[str]]:
    yield from csv.reader([head.strip("\r\n")], delimiter=_separator(path))


def _separator(path: Path) -> str:
    return "\t" if path.suffix == ".tsv" else ","


def _batches(path: Path, texts: Sequence[str], numbers: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The rows, some thousand at a time: some columns as text, the others as numbers."""
    chosen = [*texts, *numbers]
    if path.suffix == ".parquet":
        yield from pq.ParquetFile(path).iter_batches(_ROWS, columns=chosen)
        return
    types = {name: pa.string() for name in texts} | {name: pa.float64() for name in numbers}
    try:
        yield from pyarrow.csv.open_csv(
            path,
            parse_options=pyarrow.csv.ParseOptions(delimiter=_separator(path)),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=types, include_columns=chosen, strings_can_be_null=True,
                null_values=["", "NA", "NaN", "nan", "NULL"],
            ),
        )  # fmt: skip
    except pa.ArrowException as error:
        raise BadData(
            f"{path} cannot be read: {error}. Cells of codes are 0, 1, another number, or empty"
        ) from error


def _wide(
    path: Path, names: list[str], patient: str, cluster: str | None, files: dict[str, str]
) -> Cohort:
    texts = [patient] if cluster is None else [patient, cluster]
    codes = [name for name in names if name not in texts]
    builder, ids, groups = SparseColumns(codes, str(path)), [], []
    for batch in _batches(path, texts, codes):
        ids.append(batch.column(patient).cast(pa.string()))
        if cluster is not None:
            groups.append(batch.column(cluster).cast(pa.string()))
        builder.add(batch)
    if not ids or not builder.rows:
        raise BadData(f"{path} has no row")
    patients = np.asarray(pa.chunked_array(ids).to_pylist(), dtype=object)
    _refuse_twice(path, patients)
    clusters = None
    if cluster is not None:
        named = pd.Series(pa.chunked_array(groups).to_pylist(), dtype=object)
        if named.isna().any():
            row = int(named.isna().argmax()) + 2
            raise BadData(f"{path}, row {row}: no cluster in column {cluster!r}")
        clusters = pd.factorize(named)[0].astype(np.int64)
    return builder.cohort(patients, clusters, files)


def _refuse_twice(path: Path, patients: NDArray[np.object_]) -> None:
    ids = pd.Series(patients)
    if ids.isna().any():
        raise BadData(f"{path}, row {int(ids.isna().argmax()) + 2}: a patient without an id")
    twice = ids[ids.duplicated()].unique()
    if len(twice):
        raise BadData(
            f"{path} has more than one row for {len(twice)} patients, {', '.join(twice[:5])} first; expected "
            "one row a patient. Events go into a table with the columns patient, code and date"
        )


def _events(path: Path, patient: str, files: dict[str, str], people: Cohort | None) -> Cohort:
    """The first day of every code of every patient."""
    parts = []
    for batch in _batches(path, [patient, *_EVENT_COLUMNS], []):
        parts.append(pa.Table.from_batches([batch]).to_pandas())
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if frame.empty:
        raise BadData(f"{path} has no event")
    for column in (patient, *_EVENT_COLUMNS):
        if frame[column].isna().any():
            row = int(frame[column].isna().argmax()) + 2
            raise BadData(
                f"{path}, row {row}: no {column}; an event needs a patient, a code and a date"
            )
    days = _days(path, frame["date"])
    rows, patients = _numbered(path, frame[patient].astype(str), people)
    columns, codes = pd.factorize(frame["code"].astype(str), sort=True)
    first_day = int(days.min())
    order = np.lexsort((days, rows, columns))
    rows, columns, days = rows[order], columns[order], days[order]
    first = np.ones(len(rows), bool)
    first[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
    rows, columns, days = rows[first], columns[first], days[first] - first_day + 1
    starts = np.searchsorted(columns, np.arange(len(codes) + 1))
    matrix = sparse.csc_array(
        (days.astype(np.int32), rows.astype(np.int32), starts), shape=(len(patients), len(codes))
    )
    cohort = Cohort(
        patients, tuple(map(str, codes)), matrix, dated=True, first_day=first_day, files=files
    )
    if people is None:
        return cohort
    seen = ObservationMap(people)
    numbers = {name: seen.values(name) for name in people.columns if name not in cohort.codes}
    return replace(
        cohort, numbers=numbers, clusters=people.clusters, files={**files, **people.files}
    )


def _numbered(
    path: Path, ids: pd.Series[str], people: Cohort | None
) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """The row of each event's patient, and the patients."""
    if people is None:
        rows, patients = pd.factorize(ids, sort=True)
        return rows.astype(np.int64), np.asarray(patients, dtype=object)
    rows = pd.Index(people.patients).get_indexer(ids)
    if (rows < 0).any():
        row = int((rows < 0).argmax())
        raise BadData(
            f"{path}, row {row + 2}: patient {ids.iloc[row]!r} is not in the table of people"
        )
    return rows.astype(np.int64), people.patients


def _days(path: Path, dates: pd.Series[str]) -> NDArray[np.int64]:
    """Days since 1970-01-01."""
    parsed = pd.to_datetime(dates.astype(str), format="ISO8601", errors="coerce")
    if parsed.isna().any():
        row = int(parsed.isna().argmax())
        raise BadData(
            f"{path}, row {row + 2}: {dates.iloc[row]!r} is no date; expected YYYY-MM-DD, such as 2019-03-28"
        )
    days: NDArray[np.int64] = parsed.to_numpy().astype("datetime64[D]").astype(np.int64)
    return days
