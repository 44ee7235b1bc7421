"""Hashes of photos that were opened before, kept in the user's cache: 120,000 files need not be read each time.

Whether a file is still the one that was read, `vlbias.files.stamp` tells.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import pandas as pd
import pyarrow as pa

from vlbias.files import whole

__all__ = ["SeenPhoto", "read_seen", "write_seen"]


@dataclass(frozen=True, slots=True)
class SeenPhoto:
    """A photo as it was when it was read.

    Args:
        stamp: Of the file; see `vlbias.files.stamp`.
        width: In pixels.
        height: In pixels.
        sha256: Of its bytes.
    """

    stamp: str
    width: int
    height: int
    sha256: str


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
