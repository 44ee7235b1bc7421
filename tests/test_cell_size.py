"""Cells of a minute: how many pieces make one, that no number moves, and that all processes agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import tiny_photos

from vlbias.errors import BadTable
from vlbias.files import write_sealed
from vlbias.runs import cell_size
from vlbias.runs.cell_size import CELL_SIZE, units_per_cell
from vlbias.runs.interfaces import Plan
from vlbias.store.run_folder import Run
from vlbias.studies import lifecycle

UNITS = 6


@pytest.mark.parametrize(
    ("units", "seconds", "expected"),
    [
        (30_000, 5.0, 12),
        (30_000, 0.001, 468),  # 64 cells stay, for many workers
        (30_000, 300.0, 1),
        (30_000, 0.0, 468),
        (300, 0.1, 4),
    ],
)
def test_a_cell_takes_about_a_minute(units: int, seconds: float, expected: int) -> None:
    assert units_per_cell(units, seconds) == expected


@pytest.fixture
def plan(tmp_path: Path, model_folder: Callable[[str], Path], photos: Path) -> Plan:
    """Six shards of four photos."""
    path = tiny_photos.write_study(tmp_path / "study.toml", model_folder("dinov2-bert"), photos)
    return lifecycle.make_plan(lifecycle.load_study(path))


def table(run: Run) -> pd.DataFrame:
    keys = ["sample_id", "contrast", "mediator", "arm", "outcome", "target"]
    frame = run.frame()[[*keys, "value", "status"]]
    return frame.astype({key: str for key in keys}).sort_values(keys, ignore_index=True)


@pytest.mark.integration
def test_merged_cells_move_no_number(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = Run(lifecycle.run_plan(plan, tmp_path / "apart").folder)
    assert len(apart.manifest["cells"]) == plan.units == UNITS
    assert not (apart.folder / CELL_SIZE).exists()
    monkeypatch.setattr(cell_size, "_FEW", 2)
    monkeypatch.setattr(cell_size, "_LEAST_CELLS", 2)
    merged = Run(lifecycle.run_plan(plan, tmp_path / "merged").folder)
    assert len(merged.manifest["cells"]) == 2
    pd.testing.assert_frame_equal(table(apart), table(merged), check_exact=True)
    assert lifecycle.run_plan(plan, tmp_path / "merged").skipped == 2
    assert lifecycle.run_plan(plan, tmp_path / "apart").skipped == UNITS, "a folder keeps its cells"


@pytest.mark.integration
def test_who_comes_second_follows_who_was_first(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_size, "_FEW", 2)
    folder = tmp_path / plan.study.name
    folder.mkdir()

    def late(plan: Plan, make_work: object) -> float:
        write_sealed(folder / CELL_SIZE, {"units": 4}, of=CELL_SIZE)
        return 1e-9

    monkeypatch.setattr(cell_size, "_seconds", late)
    assert lifecycle.run_plan(plan, tmp_path, shard=(1, 2)).done == 1
    assert lifecycle.run_plan(plan, tmp_path, shard=(0, 2)).done == 1
    assert len(Run(folder).manifest["cells"]) == 2
    assert sorted(path.name for path in folder.glob(f".{CELL_SIZE}*")) == []
    (folder / CELL_SIZE).write_text('{"units": 3}')
    with pytest.raises(BadTable, match="checksum"):
        lifecycle.run_plan(plan, tmp_path)
