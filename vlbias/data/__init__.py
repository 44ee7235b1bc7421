"""Everything that ends in examples; `DATASETS` names the readers and imports none of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlbias.errors import BadData, UnknownName
from vlbias.registry import Entry, Registry

if TYPE_CHECKING:
    from vlbias.data.table import Dataset
    from vlbias.data.texts import Texts

__all__ = ["DATASETS", "PREPARED", "TEXTS", "open_dataset", "read_text_dataset"]

DATASETS: Registry[Callable[..., Dataset]] = Registry(
    "dataset",
    {
        "coco": Entry(
            "vlbias.data.coco:read_coco",
            "MSCOCO photos with captions and boxes; perceived gender from captions",
        ),
        "pascal-sentence": Entry(
            "vlbias.data.pascal:read_pascal",
            "PASCAL-Sentence photos with five sentences and VOC boxes",
        ),
        "own": Entry(
            "vlbias.data.own_photos:read_own",
            "your own photos and groups from a CSV or JSONL file",
        ),
        "scenes": Entry(
            "vlbias.data.scene_folder:read_scenes",
            "rendered scenes in which what tells gender, and what goes with it, was chosen",
        ),
    },
)

TEXTS: Registry[Callable[..., Texts]] = Registry(
    "data set of texts",
    {
        "professions": Entry(
            "vlbias.data.professions:read_professions",
            "professions in 17 templates or whole sentences, he, she or they (for language models)",
        ),
        "names": Entry(
            "vlbias.data.names:read_names",
            "first names in templates: he, she or the singular they (for language models)",
        ),
        "winobias": Entry(
            "vlbias.data.coreference:read_winobias",
            "WinoBias sentences in pairs, two continuations (for language models)",
        ),
        "winogender": Entry(
            "vlbias.data.coreference:read_winogender",
            "Winogender sentences in pairs, two continuations (for language models)",
        ),
        "texts": Entry(
            "vlbias.data.texts:read_texts",
            "your own prompts, worlds and candidates from a JSONL file (for language models)",
        ),
    },
)


PREPARED = {"coco-gender": "coco", "pascal-gender": "pascal_sentence"}
"""Tables that `datasets/*/prepare.py` writes: name to the folder below `datasets/` or VLBIAS_DATA."""


def read_text_dataset(name: str, path: Path | None, options: Mapping[str, Any]) -> Texts:
    """The prompts of a registered data set of texts.

    Args:
        name: One of `TEXTS`.
        path: Where its files are; some come with a small own-written set for None.
        options: Keyword arguments of its reader, such as "statistic" of winogender.

    Raises:
        UnknownName: if there is no such data set, or its reader has no such option.
        BadData: if its files are missing or wrong, or an option's value is.
    """
    from vlbias.data.text_files import files_read
    from vlbias.data.texts import texts_folder

    read = TEXTS.load(name)
    known = {
        option
        for option, about in signature(read).parameters.items()
        if about.kind is about.KEYWORD_ONLY
    }
    for option in options:
        if option not in known:
            raise UnknownName(f"option of {name} (study field 'dataset.options')", option, known)
    with files_read() as found:
        texts = read(path, **options)
    root = texts_folder(path)
    files = {
        "dataset.path" if file == root else Path(os.path.relpath(file, root)).as_posix(): digest
        for file, digest in found.items()
    }
    return replace(texts, files=files)


def open_dataset(name: str, path: Path | None = None) -> Dataset:
    """A prepared table, or what a reader makes of a folder with its default rule.

    Args:
        name: One of `PREPARED`, or a reader of `DATASETS`.
        path: Folder or file; may be left out for prepared tables, which are then looked for in
            `datasets/` of the working directory, or in the folder that VLBIAS_DATA names.

    Raises:
        UnknownName: if there is no such data set, with suggestions.
        BadData: if its files are missing or wrong.
    """
    if name in PREPARED:
        from vlbias.data.table import load_dataset_table

        root = Path(os.environ.get("VLBIAS_DATA", "datasets"))
        return load_dataset_table(path or root / PREPARED[name])
    if name not in DATASETS:
        raise UnknownName("dataset", name, [*PREPARED, *DATASETS])
    if path is None:
        raise BadData(f"data set {name!r} needs a path: the folder or file that its reader reads")
    return DATASETS.load(name)(path)
