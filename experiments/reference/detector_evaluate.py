"""How good the detector is on a split: average precision of boxes, presence of categories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from reference.detector import Kept, detect, prompt_of, tokens_of
from reference.measure import mean_ap
from reference.photos import Corpus, Photo
from torch import Tensor

from vlbias.analysis.box_precision import Precision, average_precision
from vlbias.causal.detection_readout import corners, detection_readout
from vlbias.models.phrases import PhraseReader
from vlbias.outcomes.best_boxes import best_boxes

__all__ = ["Found", "find", "numbers", "truth_frame"]

BOXES = 100
CORNERS = ["x0", "y0", "x1", "y1"]


class Found:
    """What was found in some photos.

    Args:
        boxes: Columns sample_id, target, score, x0, y0, x1, y1 in pixels of the file.
        presence: Highest logit of each category, [photos, categories].
    """

    def __init__(self, boxes: pd.DataFrame, presence: np.ndarray) -> None:
        self.boxes, self.presence = boxes, presence


def truth_frame(photos: Sequence[Photo], categories: Sequence[str]) -> pd.DataFrame:
    """The true boxes of photos, as `average_precision` wants them."""
    rows = [
        (str(photo.id), categories[kind], *box, 0)
        for photo in photos
        for kind, box in zip(photo.classes, photo.boxes.tolist(), strict=True)
    ]
    return pd.DataFrame(rows, columns=["sample_id", "target", *CORNERS, "crowd"])


def find(
    net: Any,
    kept: Kept,
    reader: PhraseReader,
    photos: Sequence[Photo],
    features: Callable[[np.ndarray], Tensor],
    sizes: Tensor,
    *,
    categories: Sequence[str],
    side: int,
    batch: int = 8,
) -> Found:
    """The 100 best boxes of each photo, asked for with its first caption and all categories.

    Args:
        net: The detector with `Kept` in its backbone's place.
        kept: That stand-in.
        reader: How texts become tokens.
        photos: The photos.
        features: Gives the kept features of the whole photos with these numbers.
        sizes: Width and height of each file, [photos, 2].
        categories: Names of the classes.
        side: Of the squares that the features were made of.
        batch: Photos at a time.
    """
    frames, presence = [], []
    device = next(net.parameters()).device
    for start in range(0, len(photos), batch):
        chosen = photos[start : start + batch]
        texts = [prompt_of(photo.captions[0], categories) for photo in chosen]
        tokens = {key: value.to(device) for key, value in tokens_of(reader, texts).items()}
        maps = features(np.arange(start, start + len(chosen))).to(device)
        boxes, logits = detect(net, kept, maps, tokens, side)
        size = sizes[start : start + len(chosen)].to(device)
        values = {"boxes": corners(boxes, size), "logits": logits}
        index = tokens["classes"].new_tensor(range(len(chosen)))[:, None]
        readout = detection_readout(values, index)
        best = best_boxes(readout, BOXES)
        frame = pd.DataFrame(best.corners, columns=CORNERS)
        frame.insert(0, "score", best.score)
        frame.insert(0, "target", np.array(categories, dtype=object)[best.target])
        ids = np.array([str(photo.id) for photo in chosen], dtype=object)
        frame.insert(0, "sample_id", ids[best.row])
        frames.append(frame)
        presence.append(readout["class_logits"].numpy())
    return Found(pd.concat(frames, ignore_index=True), np.concatenate(presence))


def numbers(found: Found, photos: Sequence[Photo], corpus: Corpus) -> dict[str, float]:
    """AP, AP50, AP75 and AR, with and without person, and presence mAP.

    "score", by which epochs are chosen, is AP50 of all plus presence mAP: AP50 alone jumps by
    a third from epoch to epoch, where classes have a handful of boxes.
    """
    names = corpus.categories
    truth = truth_frame(photos, names)
    samples = [str(photo.id) for photo in photos]
    others = [name for name in names if name != "person"]
    result: dict[str, float] = {}
    for kind, classes in (("", names), ("_without_person", others)):
        one: Precision = average_precision(truth, found.boxes, samples, classes)
        result |= {f"ap{kind}": one.ap, f"ap50{kind}": one.ap50}
        result |= {f"ap75{kind}": one.ap75, f"ar{kind}": one.ar}
    columns = [k for k, name in enumerate(names) if name != "person"]
    present = corpus.presence(photos)
    result["presence_map_without_person"] = mean_ap(found.presence, present, columns)
    result["score"] = result["ap50"] + result["presence_map_without_person"]
    return result
