"""Kills `vlbias run` of a study of bias or of mitigations, or `vlbias report`, at random moments.

    python random_kills.py WHAT KILLS FAULTS SEED FOLDER

After every SIGKILL nothing that is there may be torn, and what is finished in the end must be what an
undisturbed job gives. `FAULTS` more kills come in the middle of the write of a file. One process imports
the libraries once and forks, with one thread.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from commands import contents
from toy_studies import planted_plan

from vlbias import files
from vlbias.data.scene_folder import write_scenes
from vlbias.data.scenes import SceneSpec
from vlbias.files import read_sealed
from vlbias.runs.interfaces import Plan
from vlbias.store.run_folder import Run
from vlbias.store.seals import fit_flaw, refuse_damaged
from vlbias.studies import lifecycle
from vlbias.studies.mitigation.work import fits
from vlbias.studies.reporting import report

_POINT = {"value": 0.1, "min_negatives": 1, "min_events": 0}


class Job(ABC):
    """A command that is killed and begun again.

    Args:
        folder: Where it works.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "killed"
        self.writes = 0

    @abstractmethod
    def do(self, out: Path, turn: int, *, workers: int = 1) -> None:
        """The command, whole; odd and even turns differ where there is a choice."""

    @abstractmethod
    def refuse_torn(self) -> str:
        """Refuses what is torn or mixed in `out`; says how far the job had come."""

    @abstractmethod
    def refuse_wrong(self) -> None:
        """Refuses a finished job whose result is not what an undisturbed one gives."""

    def prepare(self) -> float:
        """Do it undisturbed; gives the seconds that it takes."""
        self.do(self.folder / "warm", 0)  # imports what every child would import again
        began = time.monotonic()
        self.writes = _counted(lambda: self.do(self.folder / "whole", 0))
        return time.monotonic() - began


class RunJob(Job):
    """`vlbias run` of a study.

    Args:
        folder: Where it works.
        plan: The study.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        super().__init__(folder)
        self.plan, self.name = plan, plan.study.name

    def do(self, out: Path, turn: int, *, workers: int = 1) -> None:
        result = lifecycle.run_plan(self.plan, out, workers=min(workers, self.plan.n_parts))
        assert not result.failed, result

    def refuse_torn(self) -> str:
        folder = self.out / self.name
        if not (folder / "manifest.json").is_file():
            return "before the manifest"
        run = Run(folder)
        refuse_damaged(folder, run.manifest)
        assert not run.cells.damaged, run.cells.damaged
        places = [place for place in folder.glob("fits/[!.]*") if place.is_dir()]
        assert not any(fit_flaw(place, sealed=True) for place in places), places
        for path in folder.glob("overhead/[!.]*.json"):
            read_sealed(path, of=f"overhead/{path.stem}", always=True)
        done = run.cells.written
        if done:
            return "all cells there" if done == len(run.manifest["cells"]) else "between cells"
        return "before the first cell"

    def refuse_wrong(self) -> None:
        whole, killed = (Run(at / self.name) for at in (self.folder / "whole", self.out))
        assert killed.manifest["cells"] == whole.manifest["cells"]
        assert killed.samples.equals(whole.samples)
        assert len(killed.files) == len(whole.files) == len(whole.manifest["cells"])
        for one, other in zip(killed.files, whole.files, strict=True):
            assert one.name == other.name
            if one.suffix == ".parquet":
                assert pq.read_table(one).equals(pq.read_table(other)), one.name
            else:
                assert one.read_bytes() == other.read_bytes(), one.name


class ReportJob(Job):
    """`vlbias report` into one folder, of a run with one seed of the draws and with another in turn.

    Args:
        folder: Where it works.
        run: The run.
    """

    def __init__(self, folder: Path, run: Path) -> None:
        super().__init__(folder)
        self.run = run
        self.pages: list[dict[str, bytes]] = []

    def do(self, out: Path, turn: int, *, workers: int = 1) -> None:
        report(self.run, out, draws=20, seed=turn % 2)

    def prepare(self) -> float:
        took = super().prepare()
        self.do(self.folder / "other", 1)
        self.pages = [contents(self.folder / name) for name in ("whole", "other")]
        assert self.pages[0] != self.pages[1], "a mixed page could not be told"
        return took

    def _shown(self) -> dict[str, bytes]:
        every = contents(self.out) if self.out.is_dir() else {}
        return {name: text for name, text in every.items() if "/." not in f"/{name}"}

    def refuse_torn(self) -> str:
        shown = self._shown()
        for name, text in shown.items():
            assert text in (self.pages[0][name], self.pages[1][name]), f"{name} is torn"
        if "index.html" not in shown:
            return "no page yet" if not shown else "page taken away"
        assert shown in self.pages, "files of two pages are mixed"
        return f"page {self.pages.index(shown)} whole"

    def refuse_wrong(self) -> None:
        assert self._shown() in self.pages


def _job(what: str, folder: Path) -> Job:
    if what == "mitigate":
        leace = {"name": "leace", "options": {"sites": ["image_encoder/neuron"]}}
        return RunJob(folder, planted_plan([leace], photos=600, strengths=[0.5, 1.0], timed=4))
    if what == "report":
        leace = {"name": "leace", "options": {"sites": ["image_encoder/neuron"]}}
        plan = planted_plan([leace], photos=600, strengths=[1.0], timed=0, maps=False)
        return ReportJob(folder, lifecycle.run_plan(plan, folder).folder)
    scenes = write_scenes(folder / "scenes", SceneSpec(photos=80, seed=5, co_occurrence=0.0))
    study = {
        "name": "detector", "model": "planted-detector-both", "prompt": "template+categories",
        "dataset": {"name": "scenes", "path": str(scenes), "splits": ["dev", "test"], "limit": 24},
        "contrasts": ["null->both"], "mediators": ["image_encoder", "text_encoder"], "keep_boxes": 2,
        "operating_point": {**_POINT, "report": ["test"]}, "min_group": 1, "shard_size": 2,
    }  # fmt: skip
    return RunJob(folder, lifecycle.make_plan(lifecycle.parse_study(study)))


def _at_every_write(tell: Callable[[Path | None], None]) -> Callable[[], None]:
    """Tells before a file is sent to the disk, and before it takes its place; gives how to end that."""
    before = (files.to_disk, fits.to_disk, os.replace, os.rename)

    def to_disk(path: Path) -> None:
        tell(None if path.is_dir() else path)
        before[0](path)

    def replace(*names: Any) -> None:
        tell(None)
        before[2](*names)

    def rename(*names: Any) -> None:
        tell(None)
        before[3](*names)

    def set_all(*functions: Any) -> None:
        files.to_disk, fits.to_disk, os.replace, os.rename = functions

    set_all(to_disk, to_disk, replace, rename)
    return lambda: set_all(*before)


def _counted(do: Callable[[], None]) -> int:
    """How many writes a job has."""
    writes: list[Path | None] = []
    end = _at_every_write(writes.append)
    do()
    end()
    return len(writes)


def _in_the_middle_of_a_file(after: int, cut: bool) -> None:
    """The process dies at one of its writes: with half a file, or with a whole one not in its place."""
    left = after

    def dying(path: Path | None) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            if cut and path is not None:
                os.truncate(path, path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    _at_every_write(dying)


def _killed(job: Job, turn: int, seconds: float | None, rng: np.random.Generator) -> bool:
    """Whether a child was killed; it dies by itself in the middle of a write without `seconds`."""
    workers = 1 if seconds is None else 1 + int(rng.integers(2))
    child = os.fork()
    if child == 0:
        os.setsid()
        if seconds is None:
            _in_the_middle_of_a_file(int(rng.integers(job.writes)), bool(rng.integers(2)))
        try:
            job.do(job.out, turn, workers=workers)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if workers > 1:  # those that are left finish their cell, or do not
        time.sleep(0.3 * int(rng.integers(2)))
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.05)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "a job failed after a kill"
    return os.WIFSIGNALED(status)


def main(what: str, kills: int, faults: int, seed: int, folder: Path) -> dict[str, Any]:
    """What was killed where, and how often a job that had been killed came to its end."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    job, rng = _job(what, folder), np.random.default_rng(seed)
    took = job.prepare()
    where: Counter[str] = Counter()
    counted, ended, turn = [0, 0], 0, 0
    while counted[0] < kills or counted[1] < faults:
        turn += 1
        fault = counted[1] < faults and (
            counted[0] >= kills or rng.random() < faults / (kills + faults)
        )
        if _killed(job, turn, None if fault else float(rng.uniform(0, took)), rng):
            counted[fault] += 1
            where[job.refuse_torn()] += 1
        else:  # it was done before: look at it, and begin again
            job.refuse_wrong()
            ended += 1
            shutil.rmtree(job.out)
    job.do(job.out, 0)
    job.refuse_wrong()
    return {"what": what, "kills": counted[0], "in a write": counted[1], "seconds": round(took, 2),
            "where": dict(where), "ended": ended + 1}  # fmt: skip


if __name__ == "__main__":
    said = main(sys.argv[1], *map(int, sys.argv[2:5]), Path(sys.argv[5]))
    print(json.dumps(said))
