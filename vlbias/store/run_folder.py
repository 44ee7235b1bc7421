"""Reading a run folder.

    run/
      manifest.json          what was run, with what, on which data
      samples.parquet        one row an example: id, cluster, group, split, attributes
      present.parquet        which targets are truly there, one row per sample and target
      nearest.parquet        where persons have groups: that of the person nearest to a target
      cells/<key>.parquet    a part of the long table; a cell is there or it is not (some kinds of
                             study write other files, cells/<key>.json)
      cells/<key>.sum        checksums of the cell's files; see `vlbias.store.seals`
      cells/<key>.error.json why a cell failed; removed when it succeeds
      compact/               large files that hold many cells; see `vlbias.store.compact_files`
      files.parquet          the files that were read as data, with their checksums

The columns of the long table are described in `vlbias.store.cell_writer`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vlbias.errors import BadTable, MissingArms, UnknownName
from vlbias.store.cell_files import CellFiles
from vlbias.store.cell_writer import SCHEMA_VERSION, read_rows
from vlbias.store.manifest import read_manifest
from vlbias.store.parquet import read_frame
from vlbias.store.seals import refuse_damaged
from vlbias.store.slab_index import SlabKey, statuses_of
from vlbias.store.slabs import Slabs

__all__ = ["Run"]


@dataclass(frozen=True, init=False)
class Run:
    """A run folder, read.

    Args:
        folder: Where it is; a path or its text.

    Raises:
        BadTable: if it is not a run folder, or one of another schema version; so does reading what a
            manifest should say and does not.
    """

    folder: Path

    def __init__(self, folder: Path | str) -> None:
        object.__setattr__(self, "folder", Path(folder))
        _refuse_others(self)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What was run: study, versions, model revision, data hash, cells."""
        try:
            return read_manifest(self.folder / "manifest.json")
        except BadTable as error:
            raise BadTable(
                f"{error}; move it away and run the study again: finished cells are kept"
            ) from error

    @property
    def sealed(self) -> bool:
        """Whether all its files have checksums; those of version 0.1.0 have none."""
        return "sums" in self.manifest

    @cached_property
    def samples(self) -> pd.DataFrame:
        """One row an example, in the order of all arrays: sample_id, cluster, group, split, and more."""
        refuse_damaged(self.folder, self.manifest, "samples.parquet")
        return read_frame(self.folder / "samples.parquet", ("sample_id", "cluster"))

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets, in the order of all arrays."""
        return tuple(self.manifest["targets"])

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """Whether a target is truly there, [samples, targets]."""
        refuse_damaged(self.folder, self.manifest, "present.parquet")
        frame = read_frame(self.folder / "present.parquet", ("sample_id", "target"))
        matrix = np.zeros((len(self.samples), len(self.targets)), dtype=bool)
        place = {sample: i for i, sample in enumerate(self.samples["sample_id"])}
        column = {target: i for i, target in enumerate(self.targets)}
        known = frame["sample_id"].isin(list(place)) & frame["target"].isin(list(column))
        if not known.all():
            raise BadTable(
                f"{self.folder / 'present.parquet'} is damaged: it names samples or targets that the run "
                "has not"
            )
        matrix[[place[s] for s in frame["sample_id"]], [column[t] for t in frame["target"]]] = True
        return matrix

    @cached_property
    def cells(self) -> CellFiles:
        """The files of the cells, checked."""
        return CellFiles(self.folder, self.manifest)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of sound cells, in the order of the manifest, whatever their suffix.

        After `vlbias compact` one file has many cells.
        """
        return self.cells.sound

    @property
    def missing(self) -> list[str]:
        """Keys of the cells that are not there yet, or are damaged."""
        lacking = set(self.cells.missing)
        return [key for key in self.manifest["cells"] if key in lacking]

    def frame(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The whole long table as a data frame; for small runs and for export.

        Rows stand as they do in the files: by cell, or by slab where cells were merged.
        """
        tables = [read_rows(path, columns) for path in self.files]
        frame: pd.DataFrame = pa.concat_tables(tables).unify_dictionaries().to_pandas()
        return frame

    def slab(
        self, contrast: str, mediator: str, arm: str, outcome: str = "presence"
    ) -> NDArray[np.float32]:
        """Values [samples, targets] of one contrast, mediator, arm and outcome; NaN where skipped.

        Raises:
            UnknownName: if the run has no such contrast or mediator.
            MissingArms: if the arm is not in the table; says which cells to resume.
        """
        key = (contrast, mediator if arm in ("01", "10") else "", arm, outcome)
        if key in self._slabs:
            return self._slabs[key]
        contrasts, mediators = ({k[i] for k in self._slabs} for i in (0, 1))
        if contrast not in contrasts:
            raise UnknownName("contrast of this run", contrast, contrasts)
        if mediator not in mediators:
            raise UnknownName("mediator of this run", mediator, mediators)
        lacking = self.missing
        raise MissingArms(
            f"{self.folder}: no arm {arm} of {mediator!r} in {contrast!r}"
            + (f"; {len(lacking)} cells are missing: run `vlbias resume`" if lacking else "")
        )

    def mediators(self, contrast: str, outcome: str = "presence") -> list[str]:
        """Mediators that have both arms in a contrast, in the order they were run."""
        first, second = (
            [key[1] for key in self._slabs if key == (contrast, key[1], arm, outcome)]
            for arm in ("01", "10")
        )
        there = set(second)
        return [mediator for mediator in first if mediator in there]

    def arms(
        self, contrast: str, outcome: str = "presence"
    ) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.float32]]]:
        """Mediator, Y01 and Y10 of a contrast, one mediator after the other."""
        for mediator in self.mediators(contrast, outcome):
            y01, y10 = (self.slab(contrast, mediator, arm, outcome) for arm in ("01", "10"))
            yield mediator, y01, y10

    @cached_property
    def statuses(self) -> pd.DataFrame:
        """How many rows of each contrast and mediator have which status; "no number" is one that lacks it."""
        counts = []
        for path in self.files:
            with pq.ParquetFile(path) as file:
                counts.append(statuses_of(file))
        merged = pa.concat_tables(counts).to_pandas()
        by = ["contrast", "mediator", "status"]
        total: pd.DataFrame = merged.groupby(by, sort=False)["count_all"].sum().reset_index()
        return total

    @cached_property
    def _slabs(self) -> Mapping[SlabKey, NDArray[np.float32]]:
        samples = {sample: i for i, sample in enumerate(self.samples["sample_id"])}
        return Slabs(self.files, samples, {target: i for i, target in enumerate(self.targets)})


def _refuse_others(run: Run) -> None:
    """A folder that is no run, or one of another schema."""
    if not (run.folder / "manifest.json").is_file():
        raise BadTable(
            f"{run.folder} is no run folder: it has no manifest.json; give the folder that "
            "`vlbias run` named"
        )
    version = run.manifest.get("schema")
    if version != SCHEMA_VERSION:
        raise BadTable(
            f"{run.folder} has table schema {version}, this version reads {SCHEMA_VERSION}"
        )
