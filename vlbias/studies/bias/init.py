"""A commented study for a model and a folder of data that somebody has: what is there decides."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vlbias.causal.staged_model import StagedModel
from vlbias.data import DATASETS
from vlbias.data.gender_labels import RULES
from vlbias.data.own_photos import COLUMNS
from vlbias.data.prompts import GROUP_WORDS
from vlbias.data.table import Dataset
from vlbias.data.text_files import header_of
from vlbias.errors import BadData
from vlbias.models import outline_model
from vlbias.models.image_text.question import Askable
from vlbias.studies.bias.study_text import Choices, study_text
from vlbias.studies.start import (
    Start,
    model_from,
    path_from,
    refuse_target,
    study_name,
    write_study,
)

__all__ = ["recognise", "start"]

_PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_TABLES = (".csv", ".jsonl", ".ndjson")
_MEANT = {
    "image": ("file", "filename", "file_name", "path", "photo", "img", "image_path"),
    "group": ("gender", "sex", "perceived_gender", "label_gender"),
    "labels": ("objects", "classes", "tags", "object", "label"),
    "text": ("caption", "description", "sentence"),
}
"""Columns of an own table to what others call them."""
_FEW = 5
_HEADS = "every head"


def start(data: Path, model: str, out: Path) -> Start:
    """Write a commented study of a model on data, and say what was chosen and why.

    Args:
        data: A folder of data, or a table of own photos.
        model: Registered name, hub name or folder.
        out: The study file.

    Raises:
        BadData: if no reader knows the data, they are wrong, or the file is there already.
        BadTable: if the file cannot be written.
        BadModel: if the model's configuration cannot be read.
        UnknownName: if there is no such model.
    """
    refuse_target(out)
    reader, place = recognise(data)
    dataset = DATASETS.load(reader)(place, None if _has_groups(reader, place) else RULES["strict"])
    outline = outline_model(model)
    here, name = out.resolve().parent, study_name(out)
    choices = _choices(reader, dataset, outline)
    text = study_text(
        choices, name=name, model=model_from(model, here), path=path_from(place, here)
    )
    write_study(out, text)
    return Start(out, name, choices.remarks)


def recognise(data: Path) -> tuple[str, Path]:
    """The reader that knows the layout of some data, and the path that it wants.

    Raises:
        BadData: if there is nothing that a reader knows; says what is there and what is missing.
    """
    if data.is_file():
        return "own", data
    if not data.is_dir():
        raise BadData(f"{data} is no folder and no file; give the folder of your photos")
    if (data / "instances.json").is_file() or list(data.glob("annotations/instances_*.json")):
        return "coco", data
    if (data / "Annotations").is_dir() and (data / "sentences").is_dir():
        return "pascal-sentence", data
    tables = sorted(path for path in data.iterdir() if path.suffix in _TABLES)
    named = [path for path in tables if _has_images(path)]
    if len(named) == 1:
        return "own", named[0]
    if len(named) > 1:
        names = ", ".join(path.name for path in named)
        raise BadData(f"{data} has several tables of photos: {names}; give the one that is meant")
    if tables:
        raise BadData(_renaming(tables[0]))
    photos = sum(path.suffix.lower() in _PHOTOS for path in data.rglob("*"))
    raise BadData(
        f"{data} has {photos} photos and no table of them. Add photos.csv, one row a photo, for example\n"
        "  image,group,labels,text,boxes\n"
        "  beach.jpg,feminine,surfboard;dog,a woman with a surfboard,"
        '"[[""person"",10,20,80,200]]"\n'
        "or COCO's instances.json and captions.json"
    )


def _has_images(path: Path) -> bool:
    """Whether a table has a column of photos; one that cannot be read is somebody else's."""
    try:
        return "image" in header_of(path)
    except BadData:
        return False


def _renaming(path: Path) -> str:
    columns = header_of(path)
    renamed = [
        f"{found!r} to {wanted!r}"
        for wanted, others in _MEANT.items()
        for found in columns
        if found.lower() in others and wanted not in columns
    ]
    advice = f" Rename {', '.join(renamed)}." if renamed else ""
    return (
        f"{path} has the columns {', '.join(map(repr, columns)) or '(none)'}.{advice} Needed: image, labels "
        "(or boxes), and group (or captions, a list of several, whose words tell perceived gender)"
    )


def _has_groups(reader: str, place: Path) -> bool:
    if reader != "own":
        return False
    columns = set(header_of(place))
    meant = any(name.lower() in _MEANT["group"] for name in columns)
    named = {"image"} <= columns and ("labels" in columns or "boxes" in columns)
    if ("group" not in columns and (meant or "captions" not in columns)) or not named:
        raise BadData(_renaming(place))
    return "group" in columns


def _choices(reader: str, dataset: Dataset, outline: StagedModel) -> Choices:
    """What a study of these photos and this model can ask, and why it asks no more."""
    frame = dataset.frame
    counts: Mapping[str, int] = frame["group"].value_counts().to_dict()
    groups = [group for group in counts if group not in ("mixed", "unknown")]
    if len(groups) < 2:
        raise BadData(
            f"one group or none ({counts}): a gap needs two. Fill the column group, or give captions "
            "whose words tell masculine and feminine"
        )
    groups = [g for g in GROUP_WORDS if g in groups] + sorted(set(groups) - set(GROUP_WORDS))
    kept = frame[frame["group"].isin(groups)]
    persons = sum(any(o["class"] == "person" for o in row) for row in kept["objects"])
    remarks = [
        f"{len(kept)} photos in a layout of the reader {reader!r}, groups "
        + ", ".join(f"{group} {counts[group]}" for group in groups),
    ]
    remarks += _misspelt(groups, counts)
    remarks += _unread(dataset)
    captions = all(len(row) > 0 for row in kept["captions"])
    finds_boxes = "boxes" in outline.gives
    if isinstance(outline, Askable):
        prompt, changes_text = _question(groups, remarks)
    else:
        prompt, changes_text = _prompt(groups, captions, finds_boxes, remarks)
    if persons < len(kept) / 2:
        remarks.append(
            f"{persons} of {len(kept)} photos have a box of class person: no image world is asked for. Add a "
            'column boxes with ["person", x0, y0, x1, y1] to blur persons and to have a placebo'
        )
    return Choices(
        reader=reader,
        labels=reader != "own" or "min_captions" in dataset.meta["rule"],
        groups=groups,
        counts=[counts[group] for group in groups],
        splits=_splits(reader, kept["split"].unique(), remarks),
        classes=len(dataset.classes),
        prompt=prompt,
        image=persons >= len(kept) / 2,
        text=changes_text,
        mediators=_mediators(outline, finds_boxes),
        finds_boxes=finds_boxes,
        remarks=remarks,
    )


def _splits(reader: str, there: Iterable[str], remarks: list[str]) -> list[str]:
    """The splits of a run: those that the photos have, all three only of own photos."""
    order: list[str] = ["fit", "dev", "test"]
    found = [name for name in order if name in set(there)]
    if len(found) == 1:
        remarks.append(
            f"all photos are of the split {found[0]!r}: thresholds are set on the photos that are reported"
        )
    return (found if reader == "own" else [name for name in found if name != "fit"]) or found


def _misspelt(groups: Sequence[str], counts: Mapping[str, int]) -> list[str]:
    """Groups of a few photos whose name is nearly that of a larger one."""
    found = []
    for group in groups:
        larger = [other for other in groups if counts[other] > counts[group]]
        near = difflib.get_close_matches(group, larger, n=1, cutoff=0.7)
        if near and counts[group] < _FEW:
            found.append(f"{counts[group]} photos of group {group!r}: is {near[0]!r} meant?")
    return found


def _unread(dataset: Dataset) -> list[str]:
    """Columns of an own table that nothing reads, with what they may be meant for."""
    near = {
        name: difflib.get_close_matches(name, COLUMNS, n=1)
        for name in dataset.meta.get("unread", ())
    }
    meant = [f"{name!r} ({to[0]!r}?)" if to else f"{name!r}" for name, to in near.items()]
    return [f"columns that are not read: {', '.join(meant)}"] if meant else []


def _question(groups: Sequence[str], remarks: list[str]) -> tuple[str, bool]:
    """The question for a model that answers yes or no, and whether its text tells the group."""
    if set(groups) <= set(GROUP_WORDS):
        return "question+person", True
    remarks.append(
        f"no word stands for the groups {', '.join(groups)}: the question tells no group, and no text world is "
        "asked for"
    )
    return "question", False


def _prompt(
    groups: Sequence[str], captions: bool, finds_boxes: bool, remarks: list[str]
) -> tuple[str, bool]:
    """The prompt, and whether taking gender out of the text can change it."""
    has_words = set(groups) <= set(GROUP_WORDS)
    if has_words:
        return ("template+categories" if finds_boxes else "template"), True
    if captions:
        remarks.append(
            f"no word stands for the groups {', '.join(groups)}: prompts are your captions. Groups called "
            f"{' and '.join(GROUP_WORDS)} are asked for with {' and '.join(GROUP_WORDS.values())}"
        )
        return ("caption+categories" if finds_boxes else "caption+class"), True
    remarks.append(
        f"no word stands for the groups {', '.join(groups)}, and there are no captions: the text tells no "
        f"group, and no text world is asked for. Groups called {' and '.join(GROUP_WORDS)} have the words "
        f"{' and '.join(GROUP_WORDS.values())}"
    )
    return ("categories" if finds_boxes else "template-neutral"), False


def _mediators(outline: StagedModel, finds_boxes: bool) -> dict[str, str]:
    """Sites of the model to what they are: whole stages, and the parts inside that cut nothing."""
    found: dict[str, str] = {
        stage.name: "the whole of it" for tower in outline.towers for stage in tower.stages
    }
    if finds_boxes:
        return found  # every further mediator of a detector is a pass of seconds
    for port in outline.ports:
        what = _in_words(port.name)
        if port.layers is None or port.cut or not what:
            continue
        units = "[*]" if what == _HEADS else ""
        found[f"{port.stage}/{port.name}.*{units}"] = f"{what} of each of {port.layers} layers"
    return found


def _in_words(port: str) -> str:
    """What a port is, for those that a study begins with; empty for others."""
    kind = port.rpartition("_")[2]
    if "_to_" in port and kind != "head":
        return "what one stream takes over from another"
    return {"attn": "attention", "mlp": "MLP", "head": _HEADS}.get(kind, "")
