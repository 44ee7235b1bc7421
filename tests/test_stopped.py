"""Runs that are stopped: by Ctrl-C, by SIGTERM, or because a worker died or was stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vlbias.cli.stopping import kept_cells
from vlbias.errors import BadTable
from vlbias.runs import workers
from vlbias.runs.interfaces import Cell, Work
from vlbias.store import cell_files

TESTS = Path(__file__).parent


class Slow(Work):
    """Cells that take a moment; the part of one says what happens to its worker."""

    def __init__(self, folder: Path, first: str) -> None:
        (folder / "cells").mkdir()
        self.folder = folder
        self.cells = [Cell(str(n), [first if n == 0 else "sleep"]) for n in range(400)]

    def manifest(self) -> dict[str, Any]:
        return {}

    def write_samples(self) -> None: ...

    def samples(self, part: Any) -> list[tuple[str, str]]:
        return []

    def fill(self, key: str, part: Any) -> None:
        if part[0] == "sleep":
            time.sleep(0.1)
        else:
            os.kill(os.getpid(), getattr(signal, part[0]))


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
@pytest.mark.parametrize(("what", "said"), [("SIGKILL", "died"), ("SIGSTOP", "has been stopped")])
def test_a_worker_that_works_no_more_is_noticed_while_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, said: str
) -> None:
    monkeypatch.setattr(workers, "SECONDS_STOPPED", 2, raising=False)
    work, began = Slow(tmp_path, what), time.monotonic()
    with pytest.raises(BadTable, match=said):
        list(workers.in_workers(work, work.cells, 2))
    assert time.monotonic() - began < 18, "the others were waited for"


@pytest.mark.integration
def test_commands_say_what_was_kept(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, TESTS / "stopped_commands.py", tmp_path],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(TESTS.parent)},
    )
    ends = json.loads(ran.stdout.splitlines()[-1])
    assert len(ends) == 8
    for command, (code, said) in ends.items():
        name, number = command.split()
        assert code == {"SIGINT": 130, "SIGTERM": 143}[number], command
        last = said.splitlines()[-1]
        assert last.startswith("stopped by "), command
        assert "same command" in last, command
        assert "Traceback" not in said, command
        assert ("page" in last) == (name == "report")


def test_kept_cells_are_counted_without_reading_one(
    tmp_path: Path, toy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_files, "cell_flaw", None)  # a huge run is counted at once
    folder = shutil.copytree(toy_folder, tmp_path / "toy")
    first = min((folder / "cells").glob("*.parquet"))
    before = len(list((folder / "cells").glob("*.parquet")))
    first.unlink()
    assert kept_cells(folder).startswith(f"{before - 1} of {before} cells are kept in {folder};")
    assert "nothing was computed yet" in kept_cells(tmp_path / "none")
