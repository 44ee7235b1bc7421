"""The families of fusion encoders with a match head, and those that cannot be taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FAMILIES", "MODEL_TYPES", "REFUSED", "Family"]


@dataclass(frozen=True, slots=True)
class Family:
    """One class of transformers.

    Args:
        about: What it is called, and how image and text meet.
        example: A published checkpoint.
        size: Its parameters in millions: four bytes each in float32.
        compares: Whether it has a contrastive head beside the match head.
    """

    about: str
    example: str
    size: int
    compares: bool = False


FAMILIES: Mapping[str, Family] = {
    "BlipForImageTextRetrieval": Family(
        "BLIP; every text layer attends to the image",
        "Salesforce/blip-itm-base-coco",
        224,
        compares=True,
    ),
    "Blip2ForImageTextRetrieval": Family(
        "BLIP-2; queries read the image and see the text",
        "Salesforce/blip2-itm-vit-g",
        1172,
        compares=True,
    ),
    "BridgeTowerForImageAndTextRetrieval": Family(
        "BridgeTower; two streams attend to each other, fed by every layer of both encoders",
        "BridgeTower/bridgetower-base-itm-mlm",
        332,
    ),
    "FlavaForPreTraining": Family(
        "FLAVA; one encoder reads the tokens of both encoders",
        "facebook/flava-full",
        358,
        compares=True,
    ),
    "ViltForImageAndTextRetrieval": Family(
        "ViLT; one encoder reads words and patches", "dandelin/vilt-b32-finetuned-coco", 111
    ),
}
"""Class, as `architectures` of `config.json` names it, to its family."""

MODEL_TYPES = ("blip", "bridgetower", "flava", "lxmert", "vilt", "visual_bert")
"""Model types of `config.json` that no other adapter takes."""

_REGIONS = (
    "it reads boxes and features of regions that a detector of its own has cut out of the photo, and no "
    "photo; the detector is no part of it"
)
REFUSED: Mapping[str, str] = {"lxmert": _REGIONS, "visual_bert": _REGIONS}
"""Model types that cannot be taken, with the reason."""
