"""GenderBias-VL: generated images of occupations, one per gender (Xiao et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vlbias.causal.example import Example
from vlbias.data.image_pairs.pairs_of_images import SceneImage, paired_worlds
from vlbias.data.people.tables import first_file
from vlbias.data.text_files import read_json
from vlbias.errors import BadData

__all__ = ["TERMS", "read_genderbias_vl"]

TERMS = (
    "allows evaluation; images are generated and carry the stereotypes of their generator; the licence "
    "beside the files decides"
)


def read_genderbias_vl(
    path: Path,
    *,
    groups: tuple[str, str] = ("male", "female"),
    prompt: str = "a photo of a {occupation}",
    limit: int | None = None,
) -> list[Example]:
    """Occupations of GenderBias-VL in two worlds: the same occupation, and an image of either gender.

    Reads `*.json`, a list of objects with id, occ, gender, image_type and `image` or `filename` (a path below
    the folder). Pairs have equal occupation and image type.

    Args:
        path: Folder of the data set, or its JSON file.
        groups: Of the null world and of the other.
        prompt: Text of both worlds, with `{occupation}`.
        limit: Only so many pairs of occupation and image type.

    Raises:
        BadData: if a file or key is missing, or no occupation has both genders.
    """
    file = first_file(path, "*.json")
    found = read_json(file)
    if not isinstance(found, list):
        raise BadData(f"{file}: expected a list of objects")
    images = list(_images(found, file, prompt))
    return paired_worlds(images, name="genderbias-vl", terms=TERMS, groups=groups, limit=limit)


def _images(found: list[dict[str, str]], file: Path, prompt: str) -> Iterator[SceneImage]:
    for number, entry in enumerate(found):
        lacking = [key for key in ("occ", "gender", "image_type") if key not in entry]
        name = entry.get("image") or entry.get("filename")
        if lacking or not name:
            raise BadData(f"{file}, entry {number}: no {', '.join(lacking) or 'image'}")
        source = file.parent / name
        if not source.is_file():
            raise BadData(f"{file}, entry {number}: {source} is not there")
        scene = f"{entry['occ']}/{entry['image_type']}"
        text = prompt.format(occupation=entry["occ"])
        yield SceneImage(scene, entry["gender"], source, text)
