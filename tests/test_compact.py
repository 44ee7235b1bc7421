"""Merged cells: the same numbers, a few slabs at a time; killed, damaged or gone on with, nothing is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damaged_runs import small_study, tables_of

from vlbias.errors import BadTable
from vlbias.runs import compaction
from vlbias.runs.compaction import compact
from vlbias.store import slabs
from vlbias.store.compact_files import COMPACT, compact_files
from vlbias.store.run_folder import Run
from vlbias.studies.lifecycle import run_plan
from vlbias.studies.reporting import report


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_plan(small_study(), tmp_path_factory.mktemp("small")).folder


@pytest.fixture
def folder(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / small.name))


def rows(folder: Path) -> pd.DataFrame:
    frame = Run(folder).frame().astype({"cell": str, "sample_id": str, "target": str})
    by = ["contrast", "mediator", "arm", "outcome", "sample_id", "target"]
    return frame.astype(dict.fromkeys(by, str)).sort_values(by, ignore_index=True)


def assert_same_rows(one: Path, other: Path) -> None:
    pd.testing.assert_frame_equal(rows(one), rows(other), check_categorical=False)


def own_cells(folder: Path) -> list[Path]:
    return sorted((folder / "cells").glob("[!.]*"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def test_merged_cells_hold_the_same_rows_and_make_the_same_page(small: Path, folder: Path) -> None:
    found = compact(folder)
    cells = Run(small).manifest["cells"]
    assert (found.merged, found.cells, found.files) == (len(cells), len(cells), 1)
    assert own_cells(folder) == []
    assert Run(folder).missing == []
    assert Run(folder).cells.written == len(cells)
    assert_same_rows(small, folder)
    assert tables_of(folder) == tables_of(small)
    assert compact(folder).merged == 0


def test_every_slab_is_the_same_in_any_order(
    small: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compact(folder)
    before, after = Run(small), Run(folder)
    monkeypatch.setattr(slabs, "_KEPT", 1)  # two slabs are in memory at a time
    run = Run(folder)
    few = slabs.Slabs(
        run.files,
        {name: i for i, name in enumerate(run.samples["sample_id"])},
        {name: i for i, name in enumerate(run.targets)},
        kept=1,
    )
    every = list(before._slabs)
    assert list(after._slabs) == every
    for key in [*every[::-1], *every]:
        np.testing.assert_array_equal(few[key], before._slabs[key])
        np.testing.assert_array_equal(after._slabs[key], before._slabs[key])
        assert len(few._slabs) <= 2


def test_cells_without_an_index_are_read_and_merged_alike(small: Path, folder: Path) -> None:
    for path in (folder / "cells").glob("*.parquet"):  # as version 0.1.0 wrote them
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
        path.with_suffix(".sum").unlink()
    seal = folder / "manifest.json"
    unsealed = {k: v for k, v in Run(small).manifest.items() if k != "sums"}
    seal.write_text(pd.Series(unsealed).to_json())
    pd.testing.assert_frame_equal(Run(folder).statuses, Run(small).statuses)
    compact(folder)
    assert_same_rows(small, folder)
    pd.testing.assert_frame_equal(Run(folder).statuses, Run(small).statuses)
    for key, slab in Run(small)._slabs.items():
        np.testing.assert_array_equal(Run(folder)._slabs[key], slab)


SLOW = [pytest.param(step, marks=pytest.mark.slow) for step in ("merge_tables", "_remove", "close")]


@pytest.mark.parametrize("step", [*SLOW, "half removed"])
def test_killed_at_any_step_nothing_is_lost(
    small: Path, folder: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    def half(folder: Path, keys: tuple[str, ...]) -> None:
        (folder / "cells" / f"{keys[0]}.parquet").unlink()
        raise Killed

    with monkeypatch.context() as patch:
        if step == "close":
            patch.setattr(compaction.CompactFile, "close", die)
        else:
            name = "_remove" if step == "half removed" else step
            patch.setattr(compaction, name, half if step == "half removed" else die)
        with pytest.raises(Killed):
            compact(folder)
    assert_same_rows(small, folder)
    assert tables_of(folder) == tables_of(small)
    assert run_plan(small_study(), folder.parent).done == 0
    compact(folder)
    assert own_cells(folder) == []
    assert len(list((folder / COMPACT).glob("*.parquet"))) == 1
    assert_same_rows(small, folder)


@pytest.mark.parametrize("suffix", [".parquet", ".json"])
def test_a_damaged_large_file_is_named_and_its_cells_are_made_anew(
    small: Path, folder: Path, suffix: str
) -> None:
    compact(folder)
    flip(next((folder / COMPACT).glob(f"*{suffix}")))
    assert Run(folder).missing == Run(small).manifest["cells"]
    with pytest.raises(BadTable, match="cells are missing"):
        report(folder, folder.parent / "page", draws=5)
    result = run_plan(small_study(), folder.parent)
    assert result.done == len(Run(small).manifest["cells"])
    assert not compact_files(folder)
    assert_same_rows(small, folder)


def test_a_run_that_goes_on_adds_cells_beside(small: Path, folder: Path) -> None:
    first, *_ = (folder / "cells").glob("*.parquet")
    for path in (first, first.with_suffix(".sum")):
        path.unlink()
    compact(folder)
    assert Run(folder).missing == [first.stem]
    result = run_plan(small_study(), folder.parent)
    assert (result.done, result.skipped) == (1, len(Run(small).manifest["cells"]) - 1)
    assert [path.name for path in own_cells(folder)] == [first.name, f"{first.stem}.sum"]
    assert tables_of(folder) == tables_of(small)
    compact(folder)
    assert len(compact_files(folder)) == 2
    assert_same_rows(small, folder)


def test_batches_are_bounded_by_rows_and_memory(
    small: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "_ROWS", 1)
    compact(folder)
    assert len(compact_files(folder)) == len(Run(small).manifest["cells"])
    assert_same_rows(small, folder)


def test_double_precision_is_kept_where_single_does_not_do(small: Path, folder: Path) -> None:
    path = next((folder / "cells").glob("*.parquet"))
    table = pq.read_table(path)
    value = table["value"].to_numpy() + 1e-12
    place = table.schema.get_field_index("value")
    exact = table.set_column(place, "value", pa.array(value))
    pq.write_table(exact, path)
    path.with_suffix(".sum").unlink()
    from vlbias.store.seals import seal_cell

    seal_cell(folder, path.stem)
    before = rows(folder)
    compact(folder)
    pd.testing.assert_frame_equal(rows(folder), before, check_categorical=False)
