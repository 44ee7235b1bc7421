"""The files of a run's cells, each checked before it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vlbias.store.compact_files import CompactFile, compact_files
from vlbias.store.parquet import read_frame
from vlbias.store.seals import UNDONE, cell_flaw

__all__ = ["CellFiles"]


@dataclass(frozen=True)
class CellFiles:
    """The files of a run's cells: one each, or large ones that hold many.

    Args:
        folder: The run folder.
        manifest: Its manifest.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @cached_property
    def keys(self) -> list[str]:
        """Every cell of the run, those of maps included."""
        return list(dict.fromkeys([*self.manifest["cells"], *self.manifest.get("parts", ())]))

    def flaw(self, path: Path) -> str:
        """What is wrong with a cell, by the path of its own file; empty if nothing is known to be.

        A cell in a large file has none of its own.
        """
        if path.stem in self._compact:
            return ""
        if not path.is_file():
            return self._lost.get(path.stem, UNDONE)
        model, sealed = self.manifest.get("model", {}).get("name", ""), "sums" in self.manifest
        return cell_flaw(path, model=model, samples=self._samples, sealed=sealed)

    @property
    def sound(self) -> tuple[Path, ...]:
        """Files of the long table that can be read, in the order of the manifest."""
        found: dict[Path, None] = {}
        for key in self.manifest["cells"]:
            if key in self._compact:
                found[self._compact[key].table] = None
            elif key in self._own:
                found[self._own[key]] = None
        return tuple(found)

    @property
    def missing(self) -> list[str]:
        """Keys of the cells that are not there or cannot be used."""
        return [key for key in self.keys if key not in self._own.keys() | self._compact.keys()]

    @property
    def compact(self) -> list[CompactFile]:
        """The large files that can be read."""
        return [one for one in self._every_compact if not one.flaw]

    @property
    def written(self) -> int:
        """How many cells have their files; none is opened, so that a huge run is counted at once."""
        sealed = {path.stem for path in (self.folder / "cells").glob("*.sum")}
        there = self._there.keys() & sealed if "sums" in self.manifest else self._there.keys()
        merged = {key for one in self._every_compact for key in one.cells}
        return sum(key in there or key in merged for key in self.manifest["cells"])

    @property
    def damaged(self) -> dict[str, str]:
        """Key of every cell that is there and cannot be used, to the reason."""
        lost = {key: why for key, why in self._lost.items() if key not in self._there}
        return {key: why for key, why in (lost | self._flaws).items() if why != UNDONE}

    @cached_property
    def _every_compact(self) -> list[CompactFile]:
        known = set(self.keys)
        return [one for one in compact_files(self.folder) if known.issuperset(one.cells)]

    @cached_property
    def _compact(self) -> dict[str, CompactFile]:
        return {key: one for one in self.compact for key in one.cells}

    @cached_property
    def _lost(self) -> dict[str, str]:
        """Cells of large files that are damaged."""
        every = [(key, one.flaw) for one in self._every_compact for key in one.cells if one.flaw]
        return {key: why for key, why in every if key not in self._compact}

    @cached_property
    def _own(self) -> dict[str, Path]:
        """Cells with a sound file of their own, which are in no large one."""
        usable = self._there.keys() - self._flaws.keys() - self._compact.keys()
        return {key: self._there[key] for key in self.keys if key in usable}

    @cached_property
    def _flaws(self) -> dict[str, str]:
        there = {key: self._there[key] for key in self.keys if key in self._there}
        return {key: why for key, path in there.items() if (why := self.flaw(path))}

    @cached_property
    def _there(self) -> dict[str, Path]:
        # files beside a cell, such as <key>.boxes.parquet and <key>.error.json, have other stems
        paths = (self.folder / "cells").glob("*.*")
        return {path.stem: path for path in paths if path.suffix != ".sum"}

    @cached_property
    def _samples(self) -> frozenset[str] | None:
        path = self.folder / "samples.parquet"
        if not path.is_file():
            return None
        return frozenset(read_frame(path, ("sample_id",), columns=["sample_id"])["sample_id"])
