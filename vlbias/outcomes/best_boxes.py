"""The boxes of a readout that are worth keeping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlbias.causal.staged_model import Readout

__all__ = ["Boxes", "best_boxes"]


@dataclass(frozen=True)
class Boxes:
    """Scored boxes of several examples, best first within each.

    Args:
        row: Which example, [n].
        target: Which class, as its number, [n].
        score: Probability, [n].
        corners: Left, top, right, bottom in pixels, [n, 4].
    """

    row: NDArray[np.int64]
    target: NDArray[np.int64]
    score: NDArray[np.float32]
    corners: NDArray[np.float32]


def best_boxes(readout: Readout, count: int) -> Boxes:
    """The `count` best pairs of box and class of each example, as COCO's evaluation takes 100.

    A box may be kept for several classes. Boxes that score nothing, or NaN since worlds could not
    be exchanged, are left out.

    Args:
        readout: With boxes [B, Q, 4] and class_prob [B, Q, K].
        count: At most so many an example.
    """
    prob = readout["class_prob"].cpu().numpy().astype(np.float32)
    corners = readout["boxes"].cpu().numpy().astype(np.float32)
    rows, _, classes = prob.shape
    flat = np.nan_to_num(prob.reshape(rows, -1), nan=0.0)
    # stable, so that equal scores keep the order of the queries
    order = np.argsort(-flat, axis=1, kind="stable")[:, :count]
    score = np.take_along_axis(flat, order, axis=1)
    row = np.repeat(np.arange(rows), order.shape[1])
    query, target = (order // classes).ravel(), (order % classes).ravel()
    kept = score.ravel() > 0
    return Boxes(row[kept], target[kept], score.ravel()[kept], corners[row, query][kept])
