"""A folder of rendered scenes, written and read: the data set "scenes"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vlbias.data.gender_labels import GenderRule
from vlbias.data.photo_rows import boxed
from vlbias.data.pictograms import OBJECTS
from vlbias.data.scenes import SHOWN, SIDE, Scene, SceneSpec, draw_scene
from vlbias.data.table import Dataset, make_dataset, split_of_number
from vlbias.data.text_files import read_json
from vlbias.errors import BadData
from vlbias.files import whole, write_json

__all__ = ["read_scenes", "write_scenes"]

RECIPE = "1"


def write_scenes(folder: Path, spec: SceneSpec) -> Path:
    """Render a set into a folder that a study can name as data set "scenes"; gives the folder.

    Beside the images and scenes.json it writes cue.json, the boxes of the cue, for `[regions]` of a
    study (`own = "cue.json"`). Images that are there already are kept; all files are written whole, so
    that several processes can render the same set.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    boxes: dict[str, list[list[int]]] = {}
    for scene in _scenes(spec):
        path = folder / _file(scene)
        if not path.is_file():
            with whole(path, durable=False) as temporary:  # can be rendered again
                scene.render().save(temporary, format="PNG")
        rows, columns = np.nonzero(scene.cue_mask())
        corners = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        boxes[_id(scene)] = [list(map(int, corners))]
    write_json(folder / "cue.json", boxes)
    write_json(folder / "scenes.json", {"recipe": RECIPE, **asdict(spec)})
    return folder


def read_scenes(
    path: Path, rule: GenderRule | None = None, *, images_anywhere: bool = False
) -> Dataset:
    """The rendered scenes of a folder; groups are those that were drawn, so no rule is read.

    Objects behind crates are in the table with their boxes: they are there.

    Args:
        path: Folder that `write_scenes` wrote.
        rule: Not read.
        images_anywhere: Whether images may be links out of the folder.

    Raises:
        BadData: if it is no such folder, or images are missing.
    """
    advice = "render it with vlbias.data.scene_folder.write_scenes(folder, SceneSpec(photos=1000))"
    content = read_json(path / "scenes.json", advice)
    if not isinstance(content, dict):
        raise BadData(f"{path / 'scenes.json'} holds no settings; {advice}")
    if content.pop("recipe", None) != RECIPE:
        raise BadData(f"{path} was rendered by another version of vlbias; render it again")
    try:
        spec = SceneSpec(**content)
    except TypeError as error:
        raise BadData(f"{path / 'scenes.json'}: {error}; {advice}") from error
    rows = [_row(scene) for scene in _scenes(spec)]
    groups = {group: sum(row["group"] == group for row in rows) for group in SHOWN[:2]}
    meta = {
        "reader": "scenes",
        "recipe": RECIPE,
        "rule": {"name": "given", "by": "drawn"},
        "funnel": {"steps": {"images": len(rows)}, "groups": groups, "dropped": {}},
        "split_rule": "number % 5: 0 test, 1 dev, else fit",
        "options": asdict(spec),
    }
    return make_dataset(
        rows, image_root=path, classes=tuple(OBJECTS), meta=meta, images_anywhere=images_anywhere
    )


def _scenes(spec: SceneSpec) -> Iterator[Scene]:
    return (draw_scene(spec, number) for number in range(spec.photos))


def _id(scene: Scene) -> str:
    return f"scene/{scene.number:06d}"


def _file(scene: Scene) -> str:
    return f"images/{scene.number:06d}.png"


def _row(scene: Scene) -> dict[str, Any]:
    objects = [("person", scene.person), *((thing.name, thing.box) for thing in scene.things)]
    size = (SIDE, SIDE)
    return {
        "id": _id(scene),
        "cluster": _id(scene),
        "image": _file(scene),
        "width": SIDE,
        "height": SIDE,
        "captions": list(scene.captions()),
        "objects": [boxed(name, box, photo=_id(scene), size=size) for name, box in objects],
        "present": sorted(scene.present),
        "group": scene.group,
        "split": split_of_number(scene.number),
        "licence": "CC0",
        "source": "rendered by vlbias",
    }
