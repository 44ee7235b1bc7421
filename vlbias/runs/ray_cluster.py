"""Cells on a Ray cluster: an actor a GPU or core loads the model once and pulls cells, one after the other.

Ray Core is enough. Our unit is a cell, which is computed whole and keeps its recorded passes to itself; Ray
Data's is a row that flows through operators.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from vlbias.errors import BadOption, BadTable, MissingExtra
from vlbias.files import whole
from vlbias.runs.cells import write_failure
from vlbias.runs.interfaces import Cell, MakeWork, Plan, Step, Work
from vlbias.runs.ray_worker import Done, RayWorker, versions

__all__ = ["RayCluster"]

MOST_LOST = 3
"""A cell whose worker was lost is given out so often; then it is recorded as failed."""
MOST_FAILED = 2
"""A cell that failed is given out so often, since what failed may have been the node."""
_AHEAD = 2
"""Cells that a worker has been given at a time, so that it never waits for the driver."""


@dataclass
class RayCluster:
    """Gives out cells to the workers of a Ray cluster; see `Compute`.

    Args:
        plan: The study; it travels to every worker.
        make_work: Loads what the cells share, on every worker.
        address: Of a cluster, ray://host:port; empty: that of RAY_ADDRESS, or a new one on this machine.
        workers: How many; 0: one a GPU if the study's device is one, else one a core.
    """

    plan: Plan
    make_work: MakeWork
    address: str = ""
    workers: int = 0
    used: int = field(default=0, init=False)

    def __call__(self, work: Work, todo: Sequence[Cell]) -> Iterator[Step]:
        """The cells as they are done, in any order.

        Raises:
            MissingExtra: if Ray is not installed.
            BadOption: if there is no cluster at the address, or it has no GPU for a study that asks for one.
            BadTable: if versions on a worker differ from here, it cannot load the study, or its disk is full.
        """
        try:
            import ray
        except ImportError as error:
            raise MissingExtra("ray", "ray") from error
        with _connected(ray, self.address), _token(work.folder) as token:
            self.used = min(self.workers or self._room(ray), len(todo))
            manifest = (work.folder / "manifest.json").read_bytes()
            study = ray.put((self.plan, self.make_work))
            kind = ray.remote(RayWorker).options(num_cpus=1, num_gpus=int(self._needs_gpu))
            arguments = (study, str(work.folder), token, manifest)
            yield from _Dispatch(ray, kind, arguments, self.used, work).steps(todo)

    @property
    def _needs_gpu(self) -> bool:
        return self.plan.device.startswith("cuda")

    def _room(self, ray: Any) -> int:
        """For how many workers the cluster has room.

        Raises:
            BadOption: if for none.
        """
        resource = "GPU" if self._needs_gpu else "CPU"
        room = int(ray.cluster_resources().get(resource, 0))
        if not room:
            asked = f"a cluster with a {resource}, as device {self.plan.device!r} asks"
            raise BadOption("on", self.address or "ray", asked)
        return room


@dataclass
class _Dispatch:
    """Who has which cell. A worker that is lost is replaced, and its cells are given to others.

    Args:
        ray: The library.
        kind: Of the actors.
        arguments: Of each.
        count: How many there should be.
        work: This process's own.
    """

    ray: Any
    kind: Any
    arguments: tuple[Any, ...]
    count: int
    work: Work
    load: dict[Any, int] = field(default_factory=dict)
    """Worker to how many cells it has."""
    hired: dict[Any, Any] = field(default_factory=dict)
    """What a worker will say once it has loaded the study, to the worker."""
    given: dict[Any, tuple[Cell, Any]] = field(default_factory=dict)
    """Answer that is awaited, to its cell and worker."""
    tries: Counter[str] = field(default_factory=Counter)
    lost_loading: int = 0

    def steps(self, todo: Sequence[Cell]) -> Iterator[Step]:
        """The cells as they are done."""
        waiting = deque(todo)
        for _ in range(self.count):
            self._hire()
        while waiting or self.given:
            while waiting and self.load and min(self.load.values()) < _AHEAD:
                worker, cell = min(self.load, key=lambda one: self.load[one]), waiting.popleft()
                self.given[worker.compute.remote(cell.key)] = cell, worker
                self.load[worker] += 1
            ready, _ = self.ray.wait([*self.hired, *self.given])
            for answer in ready:
                if answer in self.hired:
                    self._admit(answer)
                    continue
                cell, worker = self.given.pop(answer)
                step = self._step(answer, cell, worker)
                if step is None:
                    waiting.append(cell)
                else:
                    yield step

    def _hire(self) -> None:
        worker = self.kind.remote(*self.arguments)
        self.hired[worker.about.remote()] = worker

    def _admit(self, answer: Any) -> None:
        """Let a worker take cells once it has loaded the study.

        Raises:
            BadTable: says what differs, or cannot be loaded.
        """
        worker = self.hired.pop(answer)
        try:
            said = self.ray.get(answer)
        except self.ray.exceptions.RayActorError as error:
            self.lost_loading += 1
            if self.lost_loading >= MOST_LOST:
                raise BadTable(f"workers are lost while they load the study: {error}") from error
            self._hire()
            return
        _refuse_other(said)
        self.load[worker] = 0

    def _step(self, answer: Any, cell: Cell, worker: Any) -> Step | None:
        """What became of a cell; None if it is to be given out again."""
        self.tries[cell.key] += 1
        tries = self.tries[cell.key]
        try:
            done: Done = self.ray.get(answer)
        except self.ray.exceptions.RayActorError as error:
            if self.load.pop(worker, None) is not None:
                self._hire()
            if tries < MOST_LOST:
                return None
            self._record_lost(cell, error)
            return Step(cell.key, False, len(cell.part))
        if worker in self.load:
            self.load[worker] -= 1
        if done.stopped:
            raise BadTable(done.stopped)
        if not done.ok and tries < MOST_FAILED:
            return None
        self._keep(cell, done)
        return Step(cell.key, done.ok, len(cell.part), done.peak_mib)

    def _keep(self, cell: Cell, done: Done) -> None:
        """Write what a worker wrote that does not see the run folder; the checksums come last."""
        cells = self.work.folder / "cells"
        for name in sorted(done.files, key=lambda name: name.endswith(".sum")):
            with whole(cells / name) as temporary:
                temporary.write_bytes(done.files[name])
        if done.ok:
            (cells / f"{cell.key}.error.json").unlink(missing_ok=True)

    def _record_lost(self, cell: Cell, error: Exception) -> None:
        path = self.work.folder / "cells" / f"{cell.key}.error.json"
        said = f"its worker was lost {MOST_LOST} times: {error}"
        write_failure(path, said, self.work.samples(cell.part))


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Joined to a cluster, or to a new one on this machine.

    Raises:
        BadOption: if there is none at the address.
    """
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if asked := address or os.environ.get("RAY_ADDRESS", ""):
        options["address"] = asked
    else:
        options |= {"include_dashboard": False, "num_cpus": len(os.sched_getaffinity(0))}
    try:
        ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BadOption("on", asked or "ray", f"a Ray cluster that answers ({error})") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _token(folder: Path) -> Iterator[str]:
    """The name of a file in the run folder by which a worker finds out whether it sees the same folder."""
    token = folder / "cells" / f".seen.{uuid4().hex}"
    token.touch()
    try:
        yield token.name
    finally:
        token.unlink(missing_ok=True)


def _refuse_other(said: dict[str, str]) -> None:
    """Nothing, if a worker has loaded the study with the versions of this process.

    Raises:
        BadTable: says both versions, or why it cannot be loaded.
    """
    host, why = said.pop("host"), said.pop("refused", "")
    if why:
        raise BadTable(f"a worker on {host} cannot load the study: {why}")
    for name, here in versions().items():
        if said[name] != here:
            raise BadTable(
                f"{name} is {said[name]} on {host} and {here} here; install the same version on all nodes"
            )
