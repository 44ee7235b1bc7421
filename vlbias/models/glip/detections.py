"""Which boxes a photo is left with: published thresholds and suppression, for every box and class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad
from torchvision.ops import batched_nms

from vlbias.causal.detection_readout import NEVER
from vlbias.models.glip.shape import GlipConfig

__all__ = ["chosen", "inside", "left_over"]


def inside(boxes: Tensor, size: Tensor) -> Tensor:
    """Boxes cut at the edges of their photos.

    Args:
        boxes: Left, top, right, bottom in pixels [R, N, 4].
        size: Width and height of each scaled photo, [R, 2].
    """
    last = (size.repeat(1, 2) - 1)[:, None].to(boxes.dtype)
    return torch.minimum(boxes.clamp(min=0), last)


@torch.no_grad()
def left_over(found: Mapping[str, Tensor], levels: Sequence[int], config: GlipConfig) -> Tensor:
    """Whether a box is a detection of a class, [R, N, K]; of every class the best box is one anyway.

    A probability is compared with the threshold before it is multiplied with that of being central.

    Args:
        found: "boxes" cut at the edges [R, N, 4], "logits" of scores [R, N, K], and "central" [R, N, 1].
        levels: Boxes of each level.
        config: Thresholds.
    """
    logits, central = found["logits"].double(), found["central"].double()
    # a score is a root
    fits = 2 * logsigmoid(logits) - logsigmoid(central) > math.log(config.score_threshold)
    best = torch.zeros_like(fits).scatter_(1, logits.argmax(1, keepdim=True), True)
    rows = [
        _of_one(boxes.double(), row, fit, levels, config)
        for boxes, row, fit in zip(found["boxes"], logits, fits, strict=True)
    ]
    return torch.stack(rows) | best


def _of_one(
    boxes: Tensor, logits: Tensor, fits: Tensor, levels: Sequence[int], config: GlipConfig
) -> Tensor:
    kept, classes = torch.zeros_like(fits), fits.shape[1]
    start, pairs = 0, []
    for count in levels:
        level = slice(start, start + count)
        pairs.append(_candidates(logits[level], fits[level], config.candidates) + start * classes)
        start += count
    pair = torch.cat(pairs)
    box, label = pair // classes, pair % classes
    # a box reaches to the end of its last pixel
    whole = boxes[box] + boxes.new_tensor([0, 0, 1, 1])
    best = batched_nms(whole, logits[box, label], label, config.overlap_threshold)
    best = best[: config.detections]
    kept[box[best], label[best]] = True
    return kept


def _candidates(logits: Tensor, fits: Tensor, most: int) -> Tensor:
    """Numbers of the best pairs of box and class of one level."""
    pair = fits.flatten().nonzero()[:, 0]
    best = logits.flatten()[pair].topk(min(most, len(pair))).indices
    return pair[best]


def chosen(boxes: Tensor, logits: Tensor, kept: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """As many boxes for every photo, whatever its size, first those that are detections.

    Args:
        boxes: Of all places, [R, N, 4].
        logits: Of scores, [R, N, K].
        kept: From `left_over`.
        count: Q, at least as many as are detections.

    Returns:
        Boxes [R, Q, 4], and logits [R, Q, K] that are `NEVER` of what is no detection.
    """
    logits = logits.masked_fill(~kept, NEVER)
    short = max(0, count - boxes.shape[1])
    boxes, logits = pad(boxes, (0, 0, 0, short)), pad(logits, (0, 0, 0, short), value=NEVER)
    other = pad(~kept.any(-1), (0, short), value=True)
    # in the order of places: what rounding does to one score moves no other box
    place = other.to(torch.uint8).sort(dim=1, stable=True).indices[:, :count, None]
    boxes, logits = (one.gather(1, place.expand(-1, -1, one.shape[2])) for one in (boxes, logits))
    return boxes, logits
