"""PAIRS: generated scenes with a person of two races and two genders (Fraser and Kiritchenko 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vlbias.causal.example import Example
from vlbias.data.image_pairs.pairs_of_images import SceneImage, paired_worlds
from vlbias.errors import BadData

__all__ = ["TERMS", "read_pairs"]

TERMS = "no licence file: allows evaluation at most; forbids passing images on"
_GROUPS = ("black_man", "black_woman", "white_man", "white_woman")


def read_pairs(
    path: Path,
    *,
    groups: tuple[str, str] = ("white_man", "white_woman"),
    prompt: str = "a photo of a {scene}",
    limit: int | None = None,
) -> list[Example]:
    """Scenes of PAIRS in two worlds: the same scene with a person of either group.

    Reads `data/{occupations,…}/SCENE/{black,white}_{man,woman}.png`.

    Args:
        path: Folder of the data set.
        groups: Of the null world and of the other.
        prompt: Text of both worlds, with `{scene}`.
        limit: Only so many scenes.

    Raises:
        BadData: if no such file is there, or no scene has both groups.
    """
    found = list(_images(path, prompt))
    if not found:
        raise BadData(f"{path}: expected data/KIND/SCENE/{{{','.join(_GROUPS)}}}.png")
    return paired_worlds(found, name="pairs", terms=TERMS, groups=groups, limit=limit)


def _images(path: Path, prompt: str) -> Iterator[SceneImage]:
    folder = path / "data" if (path / "data").is_dir() else path
    for file in sorted(folder.glob("*/*/*.png")):
        if file.stem in _GROUPS:
            kind, scene = file.parts[-3], file.parts[-2]
            text = prompt.format(scene=scene.replace("_", " "))
            yield SceneImage(f"{kind}/{scene}", file.stem, file, text)
