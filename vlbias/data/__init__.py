"""Everything that ends in examples; `DATASETS` names the readers and imports none of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vlbias.errors import BadData, UnknownName
from vlbias.registry import Entry, Registry

if TYPE_CHECKING:
    from vlbias.data.table import Dataset

__all__ = ["DATASETS", "PREPARED", "open_dataset"]

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
            "vlbias.data.own:read_own",
            "your own photos and groups from a CSV or JSONL file",
        ),
    },
)


PREPARED = {"coco-gender": "coco", "pascal-gender": "pascal_sentence"}
"""Tables that `datasets/*/prepare.py` writes: name to the folder below `datasets/` or VLBIAS_DATA."""


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
