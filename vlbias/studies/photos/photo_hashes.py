"""Hashes of the photos that a study uses: a sample is opened at once, all before a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from vlbias.data.table import Dataset, verify_images
from vlbias.files import hash_of_file
from vlbias.runs.events import Note, silent

__all__ = ["OPENED", "PhotoHashes"]

OPENED = 1000
"""Photos that are opened before anything else; of so many or fewer all are."""


class PhotoHashes(Mapping[str, str]):
    """Name to a hash of the bytes of every photo that is used, and of every regions file.

    A study of 120,000 photos is checked without reading all of them; who needs a hash has them all opened.

    Args:
        dataset: The photos that are used.
        others: Name to path of further files.
        note: Told what is being done.
        seed: Of the sample.

    Raises:
        BadData: names the photos of the sample that cannot be opened; reading a hash names all.
    """

    def __init__(
        self, dataset: Dataset, others: Mapping[str, Path], note: Note, seed: int = 0
    ) -> None:
        self._dataset, self._others, self._note = dataset, others, note
        self._found: dict[str, str] | None = None
        frame = dataset.frame
        if len(frame) <= OPENED:
            self._every()
            return
        note(f"opening {OPENED} of {len(frame)} photos")
        verify_images(replace(dataset, frame=frame.sample(OPENED, random_state=seed % 2**32)))

    def __len__(self) -> int:
        return len(self._dataset.frame) + len(self._others)

    def __iter__(self) -> Iterator[str]:
        yield from self._dataset.frame["image"]
        yield from self._others

    def __getitem__(self, name: str) -> str:
        return self._every()[name]

    def _every(self) -> dict[str, str]:
        if self._found is None:
            self._note("opening every photo")
            found = verify_images(self._dataset)
            self._found = found | {name: hash_of_file(path) for name, path in self._others.items()}
        return self._found

    def __getstate__(self) -> dict[str, object]:
        # a worker elsewhere gets the hashes, and nobody to tell
        return {**vars(self), "_found": self._every(), "_note": silent}
