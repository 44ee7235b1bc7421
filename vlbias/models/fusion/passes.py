"""How each fusion encoder is called, and the log-odds that its match head gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vlbias.causal.staged_model import Batch
from vlbias.models.fusion.layouts import STREAM, TEXT, Layout

__all__ = ["SCORES", "of_the_stream", "ordered_patches"]

SPAN = "span."
"""What keys of a batch begin with that mark a named span."""


def _log_odds(logits: Tensor) -> Tensor:
    """Of "match", the second of two classes, [R]."""
    return logits[:, 1] - logits[:, 0]


def _blip(net: Any, given: Batch) -> Tensor:
    return _log_odds(net(**given).itm_score)


def _blip2(net: Any, given: Batch) -> Tensor:
    if net.config.image_token_index is not None:
        # its processor writes the image's tokens before a text; the network cuts them off again
        ids, mask = given["input_ids"], given["attention_mask"]
        image = ids.new_full((len(ids), net.config.num_query_tokens), net.config.image_token_index)
        own = mask.new_ones(image.shape)
        given = {
            **given,
            "input_ids": torch.cat([image, ids], 1),
            "attention_mask": torch.cat([own, mask], 1),
        }
    return _log_odds(net(**given, use_image_text_matching_head=True).logits_per_image)


def _bridgetower(net: Any, given: Batch) -> Tensor:
    return _log_odds(net(**given).logits)


def _flava(net: Any, given: Batch) -> Tensor:
    # its own forward pass runs all encoders twice, once on masked words, and has losses behind them
    return _log_odds(net.itm_head(net.flava(**given).multimodal_embeddings))


def _vilt(net: Any, given: Batch) -> Tensor:
    with ordered_patches(net.vilt.embeddings):
        ranks: Tensor = net(**given).logits[:, 0]
    return ranks


SCORES: Mapping[str, Callable[[Any, Batch], Tensor]] = {
    "BlipForImageTextRetrieval": _blip,
    "Blip2ForImageTextRetrieval": _blip2,
    "BridgeTowerForImageAndTextRetrieval": _bridgetower,
    "FlavaForPreTraining": _flava,
    "ViltForImageAndTextRetrieval": _vilt,
}
"""Class to what gives a score [R] of rows; ViLT's head has one class, which ranks texts."""


@contextmanager
def ordered_patches(embeddings: Any) -> Iterator[None]:
    """ViLT's embeddings take all patches in order, as long as the context lasts.

    The library draws patches at random, also when nothing is trained, and in a new order each time: the token
    of a patch would be another one in every pass. Order is nothing that its encoder sees, so that scores are
    the library's own where it takes all patches.

    Args:
        embeddings: A `ViltEmbeddings`; its rows have photos of one size.
    """

    def visual_embed(pixels: Tensor, mask: Tensor, _: Any = None, **__: Any) -> tuple[Any, ...]:
        patches = embeddings.patch_embeddings(pixels)  # [R, D, h, w]
        rows, width, *size = patches.shape
        places = embeddings.position_embeddings
        side = embeddings.config.image_size // embeddings.config.patch_size
        grid = places[:, 1:].transpose(1, 2).reshape(1, width, side, side)
        grid = nn.functional.interpolate(grid, size=size, mode="bilinear", align_corners=True)
        own = (patches + grid).flatten(2).transpose(1, 2)
        first = (embeddings.cls_token + places[:, :1]).expand(rows, -1, -1)
        seen = torch.ones((rows, 1 + own.shape[1]), dtype=torch.long, device=own.device)
        return embeddings.dropout(torch.cat([first, own], 1)), seen, None

    embeddings.visual_embed = visual_embed
    try:
        yield
    finally:
        del embeddings.visual_embed


def of_the_stream(net: Any, layout: Layout, batch: Batch) -> Batch:
    """Which tokens [R, T] of a stream of both are what, and how many each row has; else empty."""
    if not layout.streams:
        return {}
    text = batch["attention_mask"].bool()
    lengths = {"": 1, "text": text.shape[1]}
    if "image" in layout.streams:
        patch = net.get_submodule(layout.image)
        projection: Any = next(m for m in patch.modules() if isinstance(m, nn.Conv2d))
        height, width = batch["pixel_values"].shape[-2:]
        down, right = projection.stride
        lengths["image"] = 1 + (height // down) * (width // right)
    if "query" in layout.streams:
        lengths["query"] = net.config.num_query_tokens
    masks: Batch = {}
    for name in filter(None, layout.streams):
        parts = [
            (text if other == "text" else text.new_ones((len(text), lengths[other])))
            if other == name
            else text.new_zeros((len(text), lengths[other]))
            for other in layout.streams
        ]
        masks[SPAN + name] = torch.cat(parts, 1)
    padded = text.shape[1] - batch[TEXT] if layout.streams[-1] == "text" else 0
    whole = sum(lengths[name] for name in layout.streams)
    return {**masks, STREAM: torch.full_like(batch[TEXT], whole) - padded}
