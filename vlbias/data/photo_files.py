"""The files of photos, opened and hashed before a run; of large sets only those that are new or changed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vlbias.causal.image_file import open_image
from vlbias.data.seen_photos import SeenPhoto, read_seen, write_seen
from vlbias.data.table import Dataset
from vlbias.errors import BadData
from vlbias.files import hash_of_file, stamp

__all__ = ["FEW", "verify_images"]

FEW = 1000
"""So many photos are opened each time, and nothing is kept of them."""


def verify_images(dataset: Dataset, *, workers: int = 4) -> dict[str, str]:
    """Open every photo to its last byte and compare its size with the table.

    Of more than 1,000 photos, files that were opened before and did not change since are not opened again;
    see `vlbias.data.seen_photos`.

    Returns:
        The SHA-256 of every file, by its name in the table.

    Raises:
        BadData: one error that lists every missing, truncated or differently sized file.
    """
    rows = list(dataset.frame[["image", "width", "height"]].itertuples(index=False, name=None))
    root = dataset.image_root
    before = read_seen(root) if len(rows) > FEW else {}
    with ThreadPoolExecutor(workers) as pool:
        opened = list(pool.map(lambda row: _opened(root, row, before.get(row[0])), rows))
    if len(rows) > FEW:
        fresh = {row[0]: seen for row, (_, seen) in zip(rows, opened, strict=True) if seen.stamp}
        if any(before.get(name) != seen for name, seen in fresh.items()):
            write_seen(root, before | fresh)
    found = [problem for problem, _ in opened if problem]
    if found:
        listed = "\n  ".join(found)
        raise BadData(f"{len(found)} of {len(rows)} photos are bad; fetch them again:\n  {listed}")
    return {row[0]: seen.sha256 for row, (_, seen) in zip(rows, opened, strict=True)}


def _opened(
    root: Path, row: tuple[str, int, int], before: SeenPhoto | None
) -> tuple[str | None, SeenPhoto]:
    """What is wrong with a photo, and what it is; its stamp is empty where it is not to be relied on."""
    name, width, height = row
    # taken before the file is read: bytes that come later have a later stamp
    now = stamp(root / name)
    if before and now and (now, width, height) == (before.stamp, before.width, before.height):
        return None, before
    problem = _image_problem(root, name, width, height)
    if problem:
        return problem, SeenPhoto("", width, height, "")
    return None, SeenPhoto(now, width, height, hash_of_file(root / name))


def _image_problem(root: Path, name: str, width: int, height: int) -> str | None:
    try:
        size = open_image(root / name).size
    except BadData as error:
        return f"{name}: {str(error).removeprefix('image ')}"
    if size != (width, height):
        return f"{name}: {size[0]} x {size[1]} px, the table says {width} x {height}"
    return None
