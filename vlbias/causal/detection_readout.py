"""Shared by all detectors: classes cut into texts, and the readout of what boxes are scored by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vlbias.causal.gradients import without_gradients
from vlbias.causal.staged_model import Readout

__all__ = ["NEVER", "class_logits", "corners", "detection_readout", "even_cuts"]

NEVER = -100.0
"""Logit of a class that was not asked for: a probability of 4e-44 that can be subtracted."""


def class_logits(logits: Tensor, owner: Tensor, classes: int) -> Tensor:
    """Logits of classes [R, Q, K]: the highest of each class's tokens.

    The same score that `post_process_grounded_object_detection` gives a box, class by class.

    Args:
        logits: Of boxes and tokens [R, Q, T]; tokens beyond those in `owner` are left out.
        owner: Class that each token belongs to [R, T'], negative for none.
        classes: K; a class without a token gets `NEVER`.
    """
    rows, boxes, _ = logits.shape
    tokens = logits[..., : owner.shape[1]]
    index = torch.where(owner < 0, classes, owner)[:, None].expand(rows, boxes, -1)
    scores = logits.new_full((rows, boxes, classes + 1), NEVER)
    scores.scatter_reduce_(2, index, tokens, "amax", include_self=False)
    return scores[..., :classes]


def corners(boxes: Tensor, size: Tensor) -> Tensor:
    """Boxes as left, top, right, bottom in pixels [R, Q, 4].

    Args:
        boxes: Centre x and y, width and height, relative to the image, [R, Q, 4].
        size: Width and height of each image in pixels, [R, 2].
    """
    x, y, w, h = boxes.unbind(-1)
    relative = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1)
    return relative * size.repeat(1, 2)[:, None].to(relative.dtype)


@without_gradients
def detection_readout(values: Mapping[str, Tensor], index: Tensor) -> Readout:
    """Boxes, class probabilities and presence of examples; an example's rows are merged.

    Rows of one example ask for different classes (all do not fit into one text), so that every
    box keeps its own scores and a class's presence is that of its best box in any row.

    Args:
        values: "boxes" [R, Q, 4] in pixels and "logits" [R, Q, K].
        index: Rows [B, n] of each example.

    Returns:
        boxes [B, n·Q, 4], class_prob [B, n·Q, K] and class_logits [B, K], the highest logit of any
        box.
    """
    rows = index.to(values["logits"].device)
    logits = values["logits"][rows].flatten(1, 2)
    readout = {
        "boxes": values["boxes"][rows].flatten(1, 2),
        "class_prob": logits.sigmoid(),
        "class_logits": logits.amax(1),
    }
    return {key: value.float().cpu() for key, value in readout.items()}


def even_cuts(lengths: Sequence[int], room: int) -> tuple[tuple[int, int], ...]:
    """First and end of the fewest runs of class names of about equal length, none longer than `room`.

    Args:
        lengths: Tokens of each name, none above `room`.
        room: Tokens that fit into one text.
    """
    count = -(-sum(lengths) // room)
    while True:
        share, cuts, start, used = sum(lengths) / count, [], 0, 0
        for i, length in enumerate(lengths):
            if used and (used + length > room or used >= share):
                cuts.append((start, i))
                start, used = i, 0
            used += length
        cuts.append((start, len(lengths)))
        if len(cuts) <= count:
            return tuple(cuts)
        count += 1
