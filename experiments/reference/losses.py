"""What the dual encoder is trained on: captions that belong, categories that are there, gender."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

__all__ = ["agrees", "contrastive", "presence_loss"]


def contrastive(similarity: Tensor, owner: Tensor) -> Tensor:
    """Symmetric cross-entropy of photos and captions; captions of one photo are never rivals.

    Each pair of a photo and one of its captions competes with the captions of other photos only,
    and in the other direction with other photos.

    Args:
        similarity: Scaled cosines [photos, captions].
        owner: Row of the photo of each caption, [captions].
    """
    columns = torch.arange(len(owner))
    mine = owner[None, :] == torch.arange(similarity.shape[0])[:, None]
    rivals = similarity.masked_fill(mine, float("-inf"))
    own = similarity[owner, columns]  # [captions]
    to_text = torch.logaddexp(own, rivals.logsumexp(1)[owner]) - own
    to_photo = -log_softmax(similarity, dim=0)[owner, columns]
    return (to_text.mean() + to_photo.mean()) / 2


def agrees(genders: list[str], words: list[str]) -> np.ndarray:
    """Where a person word does not contradict what the captions of a photo say.

    "person" never contradicts; "man" and "woman" are confirmed only by captions that say so, so
    that a prompt about a man is neither right nor wrong for a photo whose captions name no gender.

    Returns:
        bool [photos, words].
    """
    allowed = {
        "masculine": {"man", "person"},
        "feminine": {"woman", "person"},
        "mixed": {"man", "woman", "person"},
        "unknown": {"person"},
    }
    return np.array([[word in allowed[gender] for word in words] for gender in genders])


def presence_loss(logits: Tensor, present: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy summed over the known categories, averaged over views.

    Args:
        logits: [views, categories].
        present: float, same shape.
        known: bool, same shape; the rest does not count.
    """
    each = binary_cross_entropy_with_logits(logits, present, reduction="none")
    return (each * known).sum(1).mean()
