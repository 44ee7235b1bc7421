"""Whether the tokens before those that differ may be kept: found out on a made photo, not taken on trust.

Prompts that attend both ways, cross attention and recurrent states all make a kept prefix wrong. Whoever keeps
it all the same gets numbers that look right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from vlbias.causal.cloze import Cloze
from vlbias.causal.example import Picture
from vlbias.causal.staged_model import Batch
from vlbias.errors import BadModel

if TYPE_CHECKING:
    from vlbias.models.image_text.adapter import ImageText

__all__ = ["Kept", "kept_prefix"]

_ALLOWED = {torch.float32: 1e-4, torch.float64: 1e-9}
_ROUNDED = 3e-2
"""Largest difference in nat of log-probabilities, in float32 and float64 and in what is narrower."""
_RAISED = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, NotImplementedError)
_TEXTS = ("Is there a dog in this image?", "Is there a cat in this image?")
_ANSWERS = ("yes", "no")


@dataclass(frozen=True)
class Kept:
    """What may be kept.

    Args:
        behind_image: Whether a pass may begin behind the image's tokens.
        before_image: Whether it may begin at the first of them.
        why: What was found, for tables.
    """

    behind_image: bool
    before_image: bool
    why: str


@torch.inference_mode()
def kept_prefix(model: ImageText) -> Kept:
    """What may be kept of a model's prefix.

    Raises:
        BadModel: if what the adapter reads is not what the network's own forward pass gives.
    """
    network: Any = model._network
    batch = _made_batch(model)
    whole = model.encode("model", batch)
    allowed = _ALLOWED.get(next(model.net.parameters()).dtype, _ROUNDED)
    asked = (batch["ask"] >= 0).all(2).all(1)
    own = network.own_logprob(batch)
    gap = float((own - whole)[asked].abs().max()) if bool(asked.any()) else 0.0
    if gap > allowed:
        raise BadModel(
            f"{model.name}: its own logits differ by {gap:.1e} nat from what its hidden states and head give: "
            "its head computes something that is not known here. Report it, with the model's name"
        )
    if model._drawing.start is not None:
        return Kept(False, False, "answers are read in a decoder of their own")
    image = batch["span.image"]
    place = torch.arange(image.shape[1], device=image.device)
    behind = int(torch.where(image, place, -1).max()) + 1
    first = int(torch.where(image, place, image.shape[1]).min())
    try:
        past = model.past("model", batch)
        gap = _gap(model, batch, past, whole, behind)
    except _RAISED as error:
        return Kept(False, False, f"it does not go on behind one ({type(error).__name__})")
    if gap > allowed:
        return Kept(
            False, False, f"earlier tokens see later ones, or more than them ({gap:.1e} nat off)"
        )
    if not first:
        return Kept(True, False, f"behind the image ({gap:.1e} nat)")
    try:
        earlier = _gap(model, batch, past, whole, first)
    except _RAISED:
        earlier = float("inf")
    where = "before the image and behind it" if earlier <= allowed else "behind the image"
    return Kept(True, earlier <= allowed, f"{where} ({gap:.1e} nat)")


def _gap(model: ImageText, batch: Batch, past: Any, whole: torch.Tensor, start: int) -> float:
    """How far a pass that goes on from row 0 at `start` is from whole passes.

    The second row goes on from the first row's prefix: a prefix that depends on what follows is another one.
    """
    rows = torch.zeros(len(whole), dtype=torch.long, device=whole.device)
    found = model.continued("model", batch, past, rows, start)
    return float((found - whole).abs().max())


def _made_batch(model: ImageText) -> Batch:
    """Two rows of one photo of noise with texts that differ in a word."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    photo = Picture(Image.fromarray(pixels))
    rows = [
        model.split({"image": photo, "text": Cloze(text, _ANSWERS)})["model"][0] for text in _TEXTS
    ]
    return model.collate("model", rows)
