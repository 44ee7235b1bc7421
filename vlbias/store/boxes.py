"""Boxes that a run keeps: those found, cell by cell, and those that are truly there.

    run/
      objects.parquet                 true boxes, one row each
      cells/<key>.boxes.parquet       found boxes of each contrast, mediator and arm, best first

Boxes are left, top, right, bottom in pixels of the photo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from vlbias.errors import BadTable
from vlbias.files import whole
from vlbias.store.compact_files import compact_files
from vlbias.store.parquet import read_frame

__all__ = ["CORNERS", "BoxWriter", "found_boxes", "true_boxes", "write_true_boxes"]

CORNERS = ("x0", "y0", "x1", "y1")
_WORDS = pa.dictionary(pa.int32(), pa.string())
_NAMES = ("contrast", "mediator", "arm")
_SCHEMA = pa.schema(
    [(name, _WORDS) for name in (*_NAMES, "sample_id", "target")]
    + [(name, pa.float32()) for name in ("score", *CORNERS)]
)


class BoxWriter:
    """Collects the found boxes of one cell and writes them in one step.

    Args:
        folder: The run folder.
        key: The cell's key.
        samples: Sample ids of the cell's examples.
    """

    def __init__(self, folder: Path, key: str, samples: Sequence[str]) -> None:
        self.path = _path(folder, key)
        self._samples = np.array(samples, dtype=object)
        self._parts: list[pd.DataFrame] = []

    def add(
        self,
        names: Mapping[str, str],
        row: NDArray[np.integer[Any]],
        target: NDArray[np.object_],
        score: NDArray[np.floating[Any]],
        corners: NDArray[np.floating[Any]],
    ) -> None:
        """Add the boxes of one contrast, mediator and arm.

        Args:
            names: Values of the columns contrast, mediator and arm.
            row: Position of each box's photo in `samples`, [n].
            target: Name of its class, [n].
            score: Its probability, [n].
            corners: [n, 4].
        """
        part = pd.DataFrame(np.asarray(corners, np.float32), columns=list(CORNERS))
        part.insert(0, "score", np.asarray(score, np.float32))
        part.insert(0, "target", target)
        part.insert(0, "sample_id", self._samples[row])
        for name in reversed(_NAMES):
            part.insert(0, name, names[name])
        self._parts.append(part)

    def close(self) -> None:
        """Write the file whole; a cell without boxes gets an empty one."""
        empty = pd.DataFrame(columns=[field.name for field in _SCHEMA])
        frame = pd.concat(self._parts, ignore_index=True) if self._parts else empty
        table = pa.Table.from_pandas(frame, _SCHEMA, preserve_index=False)
        with whole(self.path) as temporary:
            pq.write_table(table, temporary, compression="zstd")


def found_boxes(
    folder: Path, keys: Sequence[str], contrast: str, mediator: str, arm: str
) -> pd.DataFrame:
    """The boxes found in one arm: columns sample_id, target, score, x0, y0, x1, y1.

    Args:
        folder: The run folder.
        keys: Its cells.
        contrast: For example "null->both".
        mediator: Ignored for the arms "00" and "11".
        arm: "00", "11", "01" or "10".

    Raises:
        BadTable: if a finished cell has no file of boxes.
    """
    name = mediator if arm in ("01", "10") else ""
    filters = [("contrast", "==", contrast), ("mediator", "==", name), ("arm", "==", arm)]
    paths: dict[Path, None] = {}
    merged = {key: one.boxes for one in compact_files(folder) for key in one.cells}
    for key in keys:
        if key in merged:
            paths[merged[key]] = None
        elif (folder / "cells" / f"{key}.parquet").is_file():
            paths[_path(folder, key)] = None
    if not all(path.is_file() for path in paths):
        raise BadTable(f"{folder} keeps no boxes; run the study with keep_boxes above 0")
    parts = [read_frame(path, filters=filters) for path in paths]
    columns = [field.name for field in _SCHEMA if field.name not in _NAMES]
    frame: pd.DataFrame = pd.concat(parts, ignore_index=True)[columns]
    return frame.astype({"sample_id": str, "target": str})


def _path(folder: Path, key: str) -> Path:
    return folder / "cells" / f"{key}.boxes.parquet"


def write_true_boxes(folder: Path, rows: Sequence[tuple[Any, ...]]) -> None:
    """Write (sample_id, target, x0, y0, x1, y1, crowd) of every true box."""
    frame = pd.DataFrame(rows, columns=["sample_id", "target", *CORNERS, "crowd"])
    with whole(folder / "objects.parquet") as temporary:
        frame.to_parquet(temporary)


def true_boxes(folder: Path) -> pd.DataFrame:
    """The true boxes of a run's photos: columns sample_id, target, x0, y0, x1, y1, crowd.

    Raises:
        BadTable: if the run kept none.
    """
    path = folder / "objects.parquet"
    if not path.is_file():
        raise BadTable(f"{folder} keeps no boxes; run the study with keep_boxes above 0")
    return read_frame(path, ("sample_id", "target", *CORNERS, "crowd"))
