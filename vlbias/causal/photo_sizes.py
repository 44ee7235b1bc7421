"""Which rows may share a batch: those whose photos have one size once they are processed.

A processor pads photos of several sizes to the largest, and networks mind: a photo's numbers would
hang on its neighbours.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from PIL import Image

from vlbias.causal.example import Picture
from vlbias.causal.staged_model import StagedModel, Tower

__all__ = ["PhotoSizes", "picture_of"]


def picture_of(row: Any) -> Picture | None:
    """The picture of a tower's row, which is a picture or a tuple that holds one."""
    if isinstance(row, Picture):
        return row
    if isinstance(row, tuple):
        return next((part for part in row if isinstance(part, Picture)), None)
    return None


class PhotoSizes:
    """The sizes to which a model processes photos.

    The model processes one photo of each size, by itself; a row without a picture is always
    processed by itself.

    Args:
        model: Mitigated or not.
    """

    def __init__(self, model: StagedModel) -> None:
        self._model = model
        self._reads = {tower.name: _reads_photos(tower) for tower in model.towers}
        self._known: dict[tuple[str, Hashable], Hashable] = {}

    def of(self, tower: str, row: Any) -> Hashable:
        """Equal for two rows of a tower that may share a batch.

        Raises:
            BadData: if the photo cannot be read.
        """
        if not self._reads[tower]:
            return ()
        size = _size(row)
        if size is None:
            return self._processed(tower, row)
        if (tower, size) not in self._known:
            self._known[tower, size] = self._processed(tower, row)
        return self._known[tower, size]

    def _processed(self, tower: str, row: Any) -> Hashable:
        tensors = self._model.collate(tower, [row]).items()
        return tuple(
            (key, *value.shape[1:])
            for key, value in tensors
            if value.is_floating_point() and value.ndim >= 3
        )

    def batches(self, tower: str, rows: Sequence[Any], most: int) -> Iterator[list[int]]:
        """Numbers of the rows in batches of at most `most`, each of one size."""
        groups: dict[Hashable, list[int]] = {}
        for number, row in enumerate(rows):
            groups.setdefault(self.of(tower, row), []).append(number)
        for group in groups.values():
            for start in range(0, len(group), most):
                yield group[start : start + most]


def _reads_photos(tower: Tower) -> bool:
    return tower.channels != ("text",)


def _size(row: Any) -> tuple[int, int] | None:
    picture = picture_of(row)
    if picture is not None:
        return picture.size
    parts = row if isinstance(row, tuple) else (row,)
    return next((part.size for part in parts if isinstance(part, Image.Image)), None)
