from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from toy_studies import planted_plan
from typer.testing import CliRunner

from vlbias import cli
from vlbias.errors import BadTable, FolderInUse
from vlbias.runs.lock import locked
from vlbias.studies import lifecycle
from vlbias.studies.lifecycle import run_plan
from vlbias.studies.planted.benchmark import benchmark_planted
from vlbias.studies.planted.demo import demo

ROOT = Path(__file__).resolve().parents[1]
Process = subprocess.Popen[str]


@contextmanager
def another(folder: Path, cells: Sequence[int] = (0,)) -> Iterator[tuple[Process, int]]:
    """Another process that holds cells of a folder, and its forked child."""
    command = [sys.executable, str(ROOT / "tests/lock_holder.py"), str(folder), *map(str, cells)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, **pipes) as other:
        assert other.stdout is not None
        child = int(other.stdout.readline())
        yield other, child
        if other.poll() is None:
            other.communicate()


def test_the_second_process_is_refused_and_told_who_works_there(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with another(folder) as (other, _):
        with pytest.raises(FolderInUse) as caught, locked(folder):
            pytest.fail("both hold it")
        assert f"{folder} is being worked on by process {other.pid} on " in str(caught.value)
        assert " since 20" in str(caught.value)
    with locked(folder):
        pass


def test_a_killed_process_holds_nothing_though_its_children_live(tmp_path: Path) -> None:
    with another(tmp_path) as (other, child):
        other.send_signal(signal.SIGKILL)
        other.wait()
        os.kill(child, 0)  # is there
        with locked(tmp_path):
            pass
        os.kill(child, signal.SIGKILL)


def test_parts_work_side_by_side_and_no_cell_is_done_twice(tmp_path: Path) -> None:
    with another(tmp_path, [1, 3, 5]) as (other, _):
        with locked(tmp_path, [0, 2, 4]):
            pass
        for cells in (range(6), [2, 5]):
            with pytest.raises(FolderInUse, match=f"process {other.pid} "), locked(tmp_path, cells):
                pytest.fail("both hold it")


def test_a_refused_part_holds_nothing(tmp_path: Path) -> None:
    with another(tmp_path, [3]), pytest.raises(FolderInUse), locked(tmp_path, range(6)):
        pass
    with another(tmp_path, range(6)):  # would be refused, and print nothing
        pass


def test_a_file_system_without_locks_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", none)
    said: list[str] = []
    with locked(tmp_path, range(6), said.append):
        pass
    assert len(said) == 1
    assert "let no other process work on it" in said[0]


def test_an_error_of_the_disk_is_not_taken_for_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "lockf", broken)
    with pytest.raises(OSError, match="Input/output"), locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadTable, match="choose another folder"):
        demo(tmp_path / "file" / "out")


def test_every_job_refuses_a_folder_in_use(
    tmp_path: Path, study_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = lifecycle.make_plan(lifecycle.read_study(study_file()))
    small = planted_plan([{"name": "leace", "options": {"sites": ["image_encoder"]}}], photos=300)

    def loads(*_: Any, **__: Any) -> None:
        pytest.fail("the model was loaded")

    monkeypatch.setattr("vlbias.studies.photos.asked_model.load_model", loads)
    starts: dict[str, Callable[[], Any]] = {
        "tiny": lambda: run_plan(plan, tmp_path),
        "planted": lambda: run_plan(small, tmp_path),
        "planted-dual": lambda: benchmark_planted(tmp_path),
        "demo-scenes-800": lambda: demo(tmp_path),
    }
    for name, start in starts.items():
        with another(tmp_path / name), pytest.raises(FolderInUse) as caught:
            start()
        assert caught.value.folder == tmp_path / name


@pytest.mark.integration
def test_a_shard_runs_while_another_is_at_work(
    tmp_path: Path, study_file: Callable[..., Path]
) -> None:
    def run(shard: str) -> Any:
        arguments = ["run", str(study_file()), "--out", str(tmp_path), "--shard", shard]
        return CliRunner().invoke(cli.app, arguments)

    with another(tmp_path / "tiny", [1, 3, 5]):
        assert run("0/2").exit_code == 0
        assert isinstance(run("0/1").exception, FolderInUse)
    assert "3 cells computed, 3 were there" in run("0/1").stdout
