"""Large files that hold the cells of many: what `vlbias compact` makes of a run folder.

    run/
      compact/<name>.parquet        rows of many cells, sorted by slab, with an index in the footer
      compact/<name>.boxes.parquet  their boxes, if the run keeps boxes
      compact/<name>.json           which cells they are, and checksums; written last

A cell is in one of these files or in `cells/`. After a kill it may be in both for a while: they are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vlbias.errors import BadTable
from vlbias.files import read_sealed, write_sealed
from vlbias.store.seals import sums_of, wrong_sums

__all__ = ["COMPACT", "CompactFile", "compact_files", "damaged_compact_files"]

COMPACT = "compact"
"""Folder in a run folder."""


@dataclass(frozen=True)
class CompactFile:
    """A large file of many cells.

    Args:
        folder: The run folder.
        cells: Keys of its cells, in order.
    """

    folder: Path
    cells: tuple[str, ...]

    @property
    def name(self) -> str:
        """Follows from the cells."""
        return hashlib.sha256("\n".join(self.cells).encode()).hexdigest()[:20]

    @property
    def table(self) -> Path:
        """Rows of the long table."""
        return self.folder / COMPACT / f"{self.name}.parquet"

    @property
    def boxes(self) -> Path:
        """Found boxes; there only if the run keeps boxes."""
        return self.folder / COMPACT / f"{self.name}.boxes.parquet"

    @property
    def seal(self) -> Path:
        """Says which cells these are, with checksums."""
        return self.folder / COMPACT / f"{self.name}.json"

    @cached_property
    def flaw(self) -> str:
        """What is wrong with it; empty if nothing is."""
        try:
            about = read_sealed(self.seal, of=self.name, always=True)
        except BadTable:
            return f"is damaged: {self.seal.name} is not what was written"
        wrong = wrong_sums(self.seal.parent, about["files"])
        return f"is damaged: {COMPACT}/{wrong[0]} is not what was written" if wrong else ""

    def close(self) -> None:
        """Seal what was written: from now on the cells are here."""
        names = [path.name for path in (self.table, self.boxes) if path.is_file()]
        about = {"cells": list(self.cells), "files": sums_of(self.seal.parent, names)}
        write_sealed(self.seal, about, of=self.name)

    def remove(self) -> None:
        """Remove it; the seal first, so that nothing is taken for whole meanwhile."""
        for path in (self.seal, self.table, self.boxes):
            path.unlink(missing_ok=True)


def compact_files(folder: Path) -> list[CompactFile]:
    """The large files of a run folder that say which cells they hold."""
    found = []
    for path in sorted((folder / COMPACT).glob("[!.]*.json")):
        cells = _cells_of(path)
        if cells:
            found.append(CompactFile(folder, cells))
    return found


def damaged_compact_files(folder: Path) -> Mapping[str, Sequence[Path]]:
    """What is damaged in words, to the files that are of no more use."""
    found: dict[str, Sequence[Path]] = {}
    known = compact_files(folder)
    for one in known:
        if one.flaw:
            said = f"{COMPACT}/{one.name} {one.flaw}; its {len(one.cells)} cells are computed anew"
            found[said] = [one.seal, one.table, one.boxes]
    sealed = {one.seal for one in known}
    for path in sorted((folder / COMPACT).glob("[!.]*.json")):
        if path not in sealed:
            beside = [path.with_suffix(".parquet"), path.with_suffix(".boxes.parquet")]
            found[f"{COMPACT}/{path.name} is damaged; its cells are computed anew"] = [
                path,
                *beside,
            ]
    return found


def _cells_of(seal: Path) -> tuple[str, ...]:
    try:
        cells = tuple(map(str, read_sealed(seal, of=seal.stem, always=True)["cells"]))
    except (BadTable, KeyError, TypeError):
        return ()
    # the name follows from the cells: a seal that says others is not its own
    return cells if CompactFile(seal.parents[1], cells).name == seal.stem else ()
