"""The files that a run reads as data: their bytes determine its numbers, so they are in its keys.

A run folder of version 0.1.0 says nothing of files; its cells keep the keys that they have.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vlbias.errors import BadData
from vlbias.files import whole
from vlbias.store.compact_files import damaged_compact_files
from vlbias.store.parquet import read_frame
from vlbias.store.run_folder import Run
from vlbias.store.seals import wrong_sums

__all__ = [
    "about_files",
    "keyed_data",
    "refuse_changed",
    "remove_damaged",
    "says_files",
    "write_files",
]

Files = Mapping[str, str]
"""Name of a file, which does not change when its folder moves, to a hash of its bytes."""
_TABLE = "files.parquet"


def keyed_data(folder: Path, rows: str, files: Files) -> Any:
    """What stands for the data in the keys of fits and cells.

    Args:
        folder: The run folder, there or not.
        rows: A hash of what was read: photos with labels and boxes, or texts.
        files: The files it was read from.
    """
    return {"rows": rows, "files": _digest(files)} if says_files(folder) else rows


def about_files(folder: Path, files: Files) -> dict[str, Any]:
    """What the manifest says of the files; nothing in a folder of version 0.1.0."""
    if not says_files(folder):
        return {}
    return {"files": {"number": len(files), "digest": _digest(files)}}


def write_files(folder: Path, files: Files) -> None:
    """Write the list of the files, so that a change can be named."""
    if says_files(folder):
        with whole(folder / _TABLE) as temporary:
            rows = sorted(files.items())
            pd.DataFrame(rows, columns=["file", "sha256"]).to_parquet(temporary)


def refuse_changed(folder: Path, files: Files) -> None:
    """Nothing, if a run folder is new, or was made from files with these bytes.

    Other files under other names are another study, which `Work.resumed` refuses.

    Raises:
        BadData: names the first five files that changed.
    """
    if not _is_run(folder) or not (folder / _TABLE).is_file():
        return
    table = read_frame(folder / _TABLE, ("file", "sha256"))
    before = dict(zip(table["file"], table["sha256"], strict=True))
    changed = [name for name, digest in files.items() if before.get(name, digest) != digest]
    if changed:
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise BadData(
            f"data changed since this run began: {', '.join(changed[:5])}{more} ({len(changed)} of "
            f"{len(files)} files of {folder}). Put the old files back, or give the study another name"
        )


def remove_damaged(folder: Path, note: Callable[[str], None]) -> list[str]:
    """Remove tables and large files of a run folder that are not what was written; a sentence on each.

    Raises:
        BadTable: if its manifest is damaged.
    """
    if not _is_run(folder):
        return []
    said = []
    for name in wrong_sums(folder, Run(folder).manifest.get("sums", {})):
        said.append(f"{name} is damaged; it is made anew")
        note(said[-1])
        (folder / name).unlink(missing_ok=True)
    for words, paths in damaged_compact_files(folder).items():
        said.append(words)
        note(words)
        for path in paths:
            path.unlink(missing_ok=True)
    return said


def _is_run(folder: Path) -> bool:
    return (folder / "manifest.json").is_file()


def says_files(folder: Path) -> bool:
    """Whether the keys of a run folder hold the bytes of its files: all that are new, none of 0.1.0."""
    return not _is_run(folder) or "files" in Run(folder).manifest.get("data", {})


def _digest(files: Files) -> str:
    return hashlib.sha256(json.dumps(sorted(files.items())).encode()).hexdigest()
