"""Hashes of photos that were opened before, kept in the user's cache: 120,000 files need not be read each time.

A file counts as the one that was read if its size, its inode and both times of change are the same. A program can
put back the time of the content (`cp -p`, `rsync -t`, `touch -r`), not that of the inode: bytes that were exchanged
are noticed. A file that changed less than two seconds before it was read is read again, since a second change could
have the same time. Windows has no time of the inode, and nothing is kept there.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import pandas as pd
import pyarrow as pa

from vlbias.files import whole

__all__ = ["SeenPhoto", "read_seen", "stamp", "write_seen"]

_YOUNG = 2_000_000_000
"""Nanoseconds within which a second change may have the same time."""


@dataclass(frozen=True, slots=True)
class SeenPhoto:
    """A photo as it was when it was read.

    Args:
        stamp: Size, inode and times; see `stamp`.
        width: In pixels.
        height: In pixels.
        sha256: Of its bytes.
    """

    stamp: str
    width: int
    height: int
    sha256: str


def stamp(path: Path) -> str:
    """What tells whether a file was changed; empty where that cannot be told, or it is not there."""
    if os.name == "nt":
        return ""
    try:
        about = path.stat()
    except OSError:
        return ""
    if time.time_ns() - max(about.st_mtime_ns, about.st_ctime_ns) < _YOUNG:
        return ""
    return f"{about.st_size}-{about.st_ino}-{about.st_mtime_ns}-{about.st_ctime_ns}"


def read_seen(root: Path) -> dict[str, SeenPhoto]:
    """The photos below a folder that were read before, by name; none if the cache cannot be read."""
    with suppress(OSError, ValueError, KeyError, pa.ArrowException):
        frame = pd.read_parquet(_file_of(root), page_checksum_verification=True)
        columns = [frame[field.name].tolist() for field in fields(SeenPhoto)]
        seen = map(SeenPhoto, *columns)
        return dict(zip(frame["name"].tolist(), seen, strict=True))
    return {}


def write_seen(root: Path, seen: dict[str, SeenPhoto]) -> None:
    """Keep what was read; a cache that cannot be written is left as it is."""
    rows = [(name, *astuple(one)) for name, one in seen.items()]
    columns = ["name", *(field.name for field in fields(SeenPhoto))]
    path = _file_of(root)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as temporary:
            pd.DataFrame(rows, columns=columns).to_parquet(temporary, write_page_checksum=True)


def _file_of(root: Path) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:20]
    return cache / "vlbias" / "photos" / f"{name}.parquet"
