"""Cells on a Ray cluster: lost workers, failed cells, other folders; with a stand-in for Ray, and Ray."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from commands import contents
from toy_studies import toy_study

from vlbias.errors import BadOption, BadStudy, BadTable
from vlbias.runs.interfaces import Cell
from vlbias.runs.ray_cluster import MOST_FAILED, MOST_LOST, _Dispatch, _refuse_other
from vlbias.runs.ray_worker import Done, RayWorker, versions
from vlbias.store.run_folder import Run
from vlbias.studies.bias.work import Work
from vlbias.studies.lifecycle import run_plan


class Lost(Exception):
    """What Ray raises for an actor that is gone."""


@dataclass
class Worker:
    """An actor without Ray: answers are made when they are asked for."""

    answers: Callable[[str], Any]
    said: dict[str, str] = field(default_factory=lambda: {**versions(), "host": "node"})

    @property
    def about(self) -> Any:
        return SimpleNamespace(remote=lambda: Answer(lambda: dict(self.said)))

    @property
    def compute(self) -> Any:
        return SimpleNamespace(remote=lambda key: Answer(lambda: self.answers(key)))

    def __hash__(self) -> int:
        return id(self)


@dataclass(eq=False)
class Answer:
    """What Ray calls a reference."""

    make: Callable[[], Any]


RAY = SimpleNamespace(
    wait=lambda refs: (refs[:1], refs[1:]),
    get=lambda ref: ref.make(),
    exceptions=SimpleNamespace(RayActorError=Lost),
)


def dispatch(folder: Path, answers: Sequence[Callable[[str], Any]], count: int = 2) -> _Dispatch:
    """With workers of which each answers in its own way; the last way is that of all further ones."""
    (folder / "cells").mkdir()
    made = iter(range(10_000))

    def hire() -> Worker:
        return Worker(answers[min(next(made), len(answers) - 1)])

    work: Any = SimpleNamespace(folder=folder, samples=lambda part: [(one, "") for one in part])
    return _Dispatch(RAY, SimpleNamespace(remote=hire), (), count, work)


CELLS = [Cell(name, (name,)) for name in "abcdef"]


def fine(key: str) -> Done:
    return Done(True)


def lost(key: str) -> Done:
    raise Lost(key)


def failing(*bad: str) -> Callable[[str], Done]:
    return lambda key: Done(key not in bad)


def test_every_cell_is_computed_once(tmp_path: Path) -> None:
    steps = list(dispatch(tmp_path, [fine]).steps(CELLS))
    assert sorted(step.key for step in steps) == list("abcdef")
    assert all(step.ok for step in steps)


def test_cells_of_a_lost_worker_are_given_to_others(tmp_path: Path) -> None:
    steps = list(dispatch(tmp_path, [lost, fine]).steps(CELLS))
    assert sorted(step.key for step in steps) == list("abcdef")
    assert all(step.ok for step in steps)


def test_a_cell_whose_workers_are_always_lost_is_recorded_and_stops_no_other(
    tmp_path: Path,
) -> None:
    asked: list[str] = []

    def deadly(key: str) -> Done:
        asked.append(key)
        return lost(key) if key == "c" else Done(True)

    steps = {step.key: step.ok for step in dispatch(tmp_path, [deadly]).steps(CELLS)}
    assert steps == {name: name != "c" for name in "abcdef"}
    assert asked.count("c") == MOST_LOST
    assert "its worker was lost" in (tmp_path / "cells" / "c.error.json").read_text()


def test_a_failed_cell_is_tried_again_and_then_recorded(tmp_path: Path) -> None:
    asked: list[str] = []

    def worker(key: str) -> Done:
        asked.append(key)
        return failing("b")(key)

    steps = {step.key: step.ok for step in dispatch(tmp_path, [worker]).steps(CELLS)}
    assert steps == {name: name != "b" for name in "abcdef"}
    assert asked.count("b") == MOST_FAILED


def test_what_comes_back_is_written_with_its_checksums_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    made = dispatch(
        tmp_path, [lambda key: Done(True, 0.0, {f"{key}.sum": b"2", f"{key}.boxes": b"1"})]
    )
    replace = os.replace
    monkeypatch.setattr(
        os, "replace", lambda a, b: (written.append(Path(b).name), replace(a, b))[1]
    )
    assert [step.ok for step in made.steps(CELLS[:1])] == [True]
    assert written == ["a.boxes", "a.sum"]
    assert (tmp_path / "cells" / "a.boxes").read_bytes() == b"1"


def test_a_full_disk_ends_the_run(tmp_path: Path) -> None:
    full = Done(False, stopped="the disk of x is full (on node)")
    with pytest.raises(BadTable, match="is full"):
        list(dispatch(tmp_path, [lambda key: full]).steps(CELLS))


def test_other_versions_and_refusals_are_said_before_any_cell() -> None:
    with pytest.raises(
        BadTable, match=r"torch is 1\.0 on far and .* here; install the same version"
    ):
        _refuse_other({**versions(), "torch": "1.0", "host": "far"})
    with pytest.raises(BadTable, match="a worker on far cannot load the study: no model"):
        _refuse_other({**versions(), "host": "far", "refused": "no model"})


def test_a_worker_that_does_not_see_the_folder_sends_what_it_wrote(tmp_path: Path) -> None:
    plan = toy_study(photos=300)
    folder = run_plan(plan, tmp_path / "here", workers=1).folder
    manifest = (folder / "manifest.json").read_bytes()
    worker = RayWorker((plan, Work), str(tmp_path / "elsewhere"), "token", manifest)
    assert not worker.is_shared
    for key in Run(folder).manifest["cells"]:
        done = worker.compute(key)
        assert done.ok
        there = {name: (folder / "cells" / name).read_bytes() for name in done.files}
        assert set(there) == {f"{key}.parquet", f"{key}.sum"}
        assert done.files == there
    assert contents(worker.work.folder / "cells") == {}


@pytest.mark.parametrize("on", ["slurm", "ray://", "http://host"])
def test_what_is_no_address_is_refused(tmp_path: Path, on: str) -> None:
    with pytest.raises(BadOption, match="ray://host:port"):
        run_plan(toy_study(photos=60), tmp_path, on=on)


def test_a_study_whose_cells_need_each_other_is_refused(tmp_path: Path) -> None:
    from toy_studies import planted_plan

    plan = planted_plan([{"name": "text-neutral"}], photos=60)
    with pytest.raises(BadStudy, match="no cluster"):
        run_plan(plan, tmp_path, on="ray")


@pytest.mark.slow
def test_a_local_cluster_gives_the_cells_of_one_process_though_a_worker_is_killed(
    tmp_path: Path,
) -> None:
    pytest.importorskip("ray")
    plan = toy_study(photos=1800)
    alone = run_plan(plan, tmp_path / "alone", workers=1).folder
    killed: list[int] = []

    def kill() -> None:
        while not killed and not (tmp_path / "done").exists():
            time.sleep(0.05)
            if len(list((tmp_path / "ray").rglob("*.sum"))) >= 2:
                for process in Path("/proc").glob("[0-9]*"):
                    try:
                        title = (process / "cmdline").read_bytes()
                    except OSError:
                        continue
                    if b"ray::RayWorker" in title:
                        os.kill(int(process.name), signal.SIGKILL)
                        killed.append(int(process.name))
                        return

    thread = threading.Thread(target=kill)
    thread.start()
    result = run_plan(plan, tmp_path / "ray", on="ray", workers=2)
    (tmp_path / "done").touch()
    thread.join()
    assert killed
    assert result.failed == ()
    cells = contents(result.folder / "cells")
    assert {name for name in cells if not name.startswith(".")} == set(contents(alone / "cells"))
    assert all(cells[name] == content for name, content in contents(alone / "cells").items())
