"""What the detector is trained on: one box a query, focal loss on tokens, L1 and GIoU on boxes.

The costs and weights are those of Grounding DINO. The library's own loss trains the proposals of
the encoder on queries that do not depend on the image, and reads the labels of a third photo from
the text of the second; both are done anew here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.ops import box_convert, generalized_box_iou

from vlbias.causal.detection_readout import class_logits

__all__ = [
    "Truth",
    "detection_loss",
    "levels_of",
    "match_places",
    "match_queries",
    "presence_loss",
    "set_loss",
]

ALPHA, GAMMA = 0.25, 2.0
COST = {"class": 2.0, "box": 5.0, "giou": 2.0}
WEIGHT = {"class": 2.0, "box": 5.0, "giou": 2.0}
FOUND_TWICE = 4  # proposals that may claim the same box: more of them learn something
NEAREST = 9  # proposals of each level that learn a box they lie in
FOUND_EARLY = 3  # queries that may find the same box, in all decoder layers but the last


@dataclass(frozen=True)
class Truth:
    """The boxes of one row.

    Args:
        boxes: Relative centre x and y, width and height, [n, 4].
        classes: Index of the category, [n].
    """

    boxes: Tensor
    classes: Tensor

    def repeated(self, times: int) -> Truth:
        """The same boxes several times."""
        return Truth(self.boxes.repeat(times, 1), self.classes.repeat(times))


def focal(logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss of every logit."""
    prob = logits.sigmoid()
    right = prob * target + (1 - prob) * (1 - target)
    weight = ALPHA * target + (1 - ALPHA) * (1 - target)
    plain = binary_cross_entropy_with_logits(logits, target, reduction="none")
    return plain * weight * (1 - right) ** GAMMA


@torch.no_grad()
def match_queries(
    logits: Tensor, boxes: Tensor, truth: Truth, positive: Tensor
) -> tuple[Tensor, Tensor]:
    """The queries and the true boxes that belong together at the least cost.

    Args:
        logits: [Q, T].
        boxes: [Q, 4], relative centre and size.
        truth: The true boxes.
        positive: Tokens of each true box, [n, T], each row summing to 1.
    """
    prob = logits.sigmoid()
    good = ALPHA * (1 - prob) ** GAMMA * -(prob + 1e-8).log()
    bad = (1 - ALPHA) * prob**GAMMA * -(1 - prob + 1e-8).log()
    overlap = generalized_box_iou(_corners(boxes), _corners(truth.boxes))
    cost = (
        COST["class"] * (good - bad) @ positive.T
        + COST["box"] * torch.cdist(boxes, truth.boxes, p=1)
        - COST["giou"] * overlap
    )
    rows, columns = linear_sum_assignment(cost.nan_to_num(1e6).cpu().numpy())
    device = logits.device
    return torch.as_tensor(rows, device=device), torch.as_tensor(columns, device=device)


def _corners(boxes: Tensor) -> Tensor:
    return box_convert(boxes, "cxcywh", "xyxy")


def levels_of(side: int, taps: int) -> list[tuple[int, int]]:
    """Height and width of the levels of a backbone, `side` patches a side, and of the added coarser one."""
    coarse = -(-side // 2)
    return [(side, side)] * taps + [(coarse, coarse)]


Match = Callable[[Tensor, Tensor, Truth, Tensor], tuple[Tensor, Tensor]]


def match_places(levels: Sequence[tuple[int, int]]) -> Match:
    """Matches proposals, one a place of each feature level, with boxes that their places lie in.

    Each box gets the places nearest to its centre, at least one of each level; a place that several
    boxes want learns the smallest (Zhang et al., ATSS, CVPR 2020, without the overlap's threshold).

    Args:
        levels: Height and width of each.
    """
    grids = [
        torch.cartesian_prod(
            (torch.arange(h, dtype=torch.float32) + 0.5) / h,
            (torch.arange(w, dtype=torch.float32) + 0.5) / w,
        ).flip(1)
        for h, w in levels
    ]  # of each place x and y, rows first

    def matched(_: Tensor, boxes: Tensor, truth: Truth, __: Tensor) -> tuple[Tensor, Tensor]:
        centre, size = truth.boxes[:, :2], truth.boxes[:, 2:]
        owner = torch.full((len(boxes),), -1, device=boxes.device)
        # later ones overwrite: the smallest box comes last
        order = size.prod(1).argsort(descending=True)
        start = 0
        for grid in grids:
            far = (grid.to(boxes.device)[None] - centre[:, None]).abs()  # [n, places, 2]
            near = far.square().sum(2).topk(min(NEAREST, len(grid)), dim=1, largest=False).indices
            inside = (far <= size[:, None] / 2).all(2).gather(1, near)
            inside[:, 0] = True
            for box in order.tolist():
                owner[start + near[box][inside[box]]] = box
            start += len(grid)
        places = (owner >= 0).nonzero().flatten()
        return places, owner[places]

    return matched


def set_loss(
    logits: Tensor,
    boxes: Tensor,
    truths: Sequence[Truth],
    roles: Tensor,
    match: Match = match_queries,
    worth: Tensor | None = None,
) -> dict[str, Tensor]:
    """Class, box and GIoU losses of a batch, each a sum over its rows divided by what the boxes are worth.

    Args:
        logits: [R, Q, T'], at least as long as the text.
        boxes: [R, Q, 4].
        truths: Of every row.
        roles: Class of every token, negative for other words, padding -3, [R, T].
        match: Which of them learn which box.
        worth: What a box of each class counts, [K]; 1 if not given.
    """
    logits = logits[..., : roles.shape[1]]
    pairs = logits.new_zeros(())
    sums = {name: logits.new_zeros(()) for name in WEIGHT}
    for row, truth in enumerate(truths):
        words = roles[row] > -3
        here = logits[row][:, words]
        target, weight = torch.zeros_like(here), torch.ones_like(here)
        if len(truth.classes):
            each = here.new_ones(len(truth.classes)) if worth is None else worth[truth.classes]
            positive = (roles[row, words][None] == truth.classes[:, None]).to(target.dtype)
            share = positive / positive.sum(1, keepdim=True)
            query, box = match(here, boxes[row], truth, share)
            pairs = pairs + torch.maximum(each.sum(), each[box].sum())
            target[query] = positive[box]
            weight[query] = torch.where(positive[box] > 0, each[box, None], 1.0)
            guess, true = boxes[row][query], truth.boxes[box]
            overlap = generalized_box_iou(_corners(guess), _corners(true)).diagonal()
            sums["box"] = sums["box"] + (each[box, None] * (guess - true).abs()).sum()
            sums["giou"] = sums["giou"] + (each[box] * (1 - overlap)).sum()
        sums["class"] = sums["class"] + (weight * focal(here, target)).sum()
    least = 1.0 if worth is None else float(worth.min())
    return {name: value / pairs.clamp(min=least) for name, value in sums.items()}


def presence_loss(logits: Tensor, present: Tensor, roles: Tensor) -> Tensor:
    """Cross-entropy of whether a class is anywhere in a photo, told by its best query.

    Args:
        logits: [R, Q, T'], at least as long as the text.
        present: [R, K].
        roles: See `set_loss`.
    """
    best = class_logits(logits, roles, present.shape[1]).amax(1)
    return binary_cross_entropy_with_logits(best, present.to(best.dtype))


def detection_loss(
    net: Any,
    found: Any,
    truths: Sequence[Truth],
    roles: Tensor,
    mask: Tensor,
    levels: Sequence[tuple[int, int]] | None = None,
    worth: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss to be minimised, and the last decoder layer's parts of it.

    Every decoder layer is trained, and so are the encoder's proposals. Only the last layer gives each
    box to one query: that several find it before makes training converge sooner (Jia et al., DETRs
    with Hybrid Matching, CVPR 2023, "hybrid layer scheme").

    Args:
        net: The detector, whose heads read the layers.
        found: Its output.
        truths: Of every row.
        roles: See `set_loss`.
        mask: Which tokens are words, [R, T].
        levels: Height and width of each feature level, where proposals are to learn the boxes that they
            lie in, whatever they find so far: with few photos of boxes of all sizes, a matching that
            changes from step to step teaches them little. If not given, they are matched as queries are.
        worth: See `set_loss`.
    """
    layers = found.intermediate_hidden_states
    total = layers.new_zeros(())
    parts: dict[str, Tensor] = {}
    for level in range(layers.shape[1]):
        before = (
            found.init_reference_points
            if level == 0
            else found.intermediate_reference_points[:, level - 1]
        )
        logits = net.class_embed[level](
            vision_hidden_state=layers[:, level],
            text_hidden_state=found.encoder_last_hidden_state_text,
            text_token_mask=mask.bool(),
        )
        delta = net.bbox_embed[level](layers[:, level])
        boxes = (delta + torch.special.logit(before, eps=1e-5)).sigmoid()
        last = level == layers.shape[1] - 1
        wanted = truths if last else [truth.repeated(FOUND_EARLY) for truth in truths]
        parts = set_loss(logits, boxes, wanted, roles, worth=worth)
        total = total + sum(WEIGHT[name] * value for name, value in parts.items())
    proposed = found.enc_outputs_coord_logits.sigmoid()
    if levels is None:
        wanted, match = [truth.repeated(FOUND_TWICE) for truth in truths], match_queries
    else:
        wanted, match = list(truths), match_places(levels)
    proposals = set_loss(found.enc_outputs_class, proposed, wanted, roles, match, worth)
    total = total + sum(WEIGHT[name] * value for name, value in proposals.items())
    return total, parts
