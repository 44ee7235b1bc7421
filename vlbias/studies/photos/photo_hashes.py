"""Hashes of the photos that a study uses: a sample is opened at once, all of them before a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from vlbias.data.photo_files import FEW, verify_images
from vlbias.data.table import Dataset
from vlbias.files import hash_of_file
from vlbias.runs.events import Note, silent

__all__ = ["PhotoHashes"]


class PhotoHashes(Mapping[str, str]):
    """Name to a hash of the bytes of every photo that is used, and of every regions file.

    A study of 120,000 photos is checked without reading all of them. Who asks for a hash has all of them
    opened; of 1,000 or fewer all are at once.

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
        # several rows may be of one photo
        self._names = tuple(dict.fromkeys([*dataset.frame["image"], *others]))
        frame = dataset.frame
        if len(frame) <= FEW:
            self._every()
            return
        note(f"opening {FEW:,} of {len(frame):,} photos")
        verify_images(replace(dataset, frame=frame.sample(FEW, random_state=seed % 2**32)))

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

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
