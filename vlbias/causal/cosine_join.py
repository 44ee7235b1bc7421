"""The join of two towers by a cosine, shared by all dual encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image
from torch import Tensor, nn

from vlbias.causal.example import Inputs, Picture
from vlbias.causal.gradients import without_gradients
from vlbias.causal.staged_model import Readout

__all__ = ["cosine_readout", "opened", "split_dual"]


def split_dual(inputs: Inputs) -> Mapping[str, tuple[Any, ...]]:
    """The rows of the two towers: the image; the caption, or the class prompts."""
    text = inputs["text"]
    return {
        "image_encoder": (inputs["image"],),
        "text_encoder": text if isinstance(text, tuple) else (str(text),),
    }


def opened(rows: Sequence[Any]) -> list[Image.Image]:
    """RGB images of pictures, or of images in memory."""
    return [(row if isinstance(row, Picture) else Picture(row)).open() for row in rows]


@without_gradients
def cosine_readout(
    values: Mapping[str, Tensor],
    index: Mapping[str, Tensor],
    *,
    scale: Tensor | float,
    bias: Tensor | float,
) -> Readout:
    """Cosines of the rows that are asked for, times `scale` plus `bias`.

    Computed in float64, so that a readout does not depend on its neighbours in the batch.

    Args:
        values: Embeddings [rows, D] of both towers.
        index: Rows [B, 1] of the image tower, [B, n] of the text tower.
        scale: Factor of the cosine, on the logit scale of the model.
        bias: Added to the product.
    """
    # only rows that are asked for are normalised: tables of pairs hold many more
    chosen = _unit(values["image_encoder"], index["image_encoder"][:, 0])
    prompts, group = index["text_encoder"].unique(dim=0, return_inverse=True)
    logits = chosen.new_empty(index["text_encoder"].shape)
    for number, rows in enumerate(prompts):
        mine = group == number
        logits[mine] = (chosen[mine, None] * _unit(values["text_encoder"], rows)).sum(-1)
    logits = logits * _number(scale) + _number(bias)
    readout = {"class_logits": logits}
    if logits.shape[1] == 1:
        readout["score"] = logits[:, 0]
    return readout


def _number(value: Tensor | float) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)


def _unit(table: Tensor, rows: Tensor) -> Tensor:
    picked = table.index_select(0, rows.to(table.device)).double()
    return nn.functional.normalize(picked, dim=-1).cpu()
