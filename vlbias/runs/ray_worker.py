"""A worker of a Ray cluster: the study loaded once, and one cell after the other."""

from __future__ import annotations

import platform
import resource
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp

import torch

from vlbias.errors import BadTable, VlbiasError
from vlbias.runs.cells import compute_cell
from vlbias.runs.events import QUIET, Progress
from vlbias.runs.interfaces import MakeWork, Plan

__all__ = ["Done", "RayWorker", "versions"]

_PACKAGES = ("vlbias", "torch", "transformers", "numpy", "pyarrow")


@dataclass(frozen=True)
class Done:
    """What became of a cell.

    Args:
        ok: Whether it was computed.
        peak_mib: Largest memory of the worker so far, in MiB.
        files: Name to content of what it wrote, where the driver cannot see its folder.
        stopped: Why the whole run has to stop; empty if it need not.
    """

    ok: bool
    peak_mib: float = 0.0
    files: Mapping[str, bytes] = field(default_factory=dict)
    stopped: str = ""


class RayWorker:
    """An actor. Refusals are told by `about`, in words: Ray wraps what an actor raises.

    Args:
        study: The plan, and what loads its work.
        folder: The run folder, as the driver names it.
        token: A file in its `cells` that is there if this node sees the same folder.
        manifest: The manifest of the run, for a node that does not.
    """

    def __init__(
        self, study: tuple[Plan, MakeWork], folder: str, token: str, manifest: bytes
    ) -> None:
        plan, make_work = study
        self.refused = ""
        self.is_shared = (Path(folder) / "cells" / token).is_file()
        if not self.is_shared:
            # keys depend on what the manifest says of the files
            folder = str(Path(mkdtemp(prefix="vlbias-")) / plan.study.name)
            (Path(folder) / "cells").mkdir(parents=True)
            (Path(folder) / "manifest.json").write_bytes(manifest)
        if plan.device == "cpu":
            torch.set_num_threads(1)
        try:
            self.work = make_work(plan, Path(folder), QUIET.note)
            self._refuse_rounds()
            self.cells = {cell.key: cell for cell in self.work.cells}
            self.work.prepare(self.work.cells, Progress(QUIET, 0, len(self.cells)))
        except VlbiasError as error:
            self.refused = str(error)

    def _refuse_rounds(self) -> None:
        """Nothing, if this node can read the cells that later ones depend on.

        Raises:
            BadTable: if there are such and it does not see the run folder.
        """
        if len(self.work.rounds) > 1 and not self.is_shared:
            raise BadTable(
                "units are raced, so that each round depends on cells of the rounds before it, and the run "
                "folder is not seen there; give --out a folder that all nodes see"
            )

    def about(self) -> dict[str, str]:
        """Versions and host of this node, and why it cannot load the study, if it cannot."""
        said = {**versions(), "host": socket.gethostname()}
        return {**said, "refused": self.refused} if self.refused else said

    def compute(self, key: str) -> Done:
        """Compute a cell; what it wrote comes back if the folder is not shared."""
        try:
            ok = compute_cell(self.work, self.cells[key])
        except VlbiasError as error:
            return Done(False, stopped=f"{error} (on {socket.gethostname()})")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if self.is_shared:
            return Done(ok, peak)
        written = sorted((self.work.folder / "cells").glob(f"{key}.*"))
        files = {path.name: path.read_bytes() for path in written}
        for path in written:
            path.unlink()
        return Done(ok, peak, files)


def versions() -> dict[str, str]:
    """Versions on which numbers depend."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
