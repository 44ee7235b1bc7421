"""Everything that ends in examples; `DATASETS` names the readers and imports none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vlbias.registry import Entry, Registry

if TYPE_CHECKING:
    from vlbias.data.table import Dataset

__all__ = ["DATASETS"]

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
