"""Module by module, in double precision: the largest difference of ours from the peer's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from glip.sides import CLASSES, Both
from torch import Tensor

from vlbias.causal.example import GroundedText
from vlbias.models.glip.dynamic_head import as_maps, as_tokens
from vlbias.models.glip.head import anchors, decoded

__all__ = ["differences", "gap", "texts"]

Row = tuple[str, str, float]
"""What is compared, the peer's file, and the largest difference relative to the largest number."""


def gap(ours: Any, theirs: Any) -> float:
    """Largest difference of tensors, or of lists of them, relative to the largest number."""
    if isinstance(ours, Tensor):
        if ours.shape != theirs.shape:
            return float("inf")
        return float((ours - theirs).abs().max() / theirs.abs().max())
    if len(ours) != len(theirs):
        return float("inf")
    return max(map(gap, ours, theirs))


def texts(both: Both) -> dict[str, Tensor]:
    """Two texts of different lengths as our reader reads them."""
    given = [GroundedText(before, CLASSES) for before in ("a man with his dogs. ", "")]
    return both.model.reader.read([both.model.reader.pieces(one)[0] for one in given])


@torch.no_grad()
def differences(both: Both) -> Iterator[Row]:
    """All parts of the network, each given the peer's input."""
    theirs, net = both.theirs, both.net
    generator = torch.Generator().manual_seed(1)
    # sides that neither windows nor mergings divide
    pixels = torch.randn(2, 3, 216, 296, generator=generator, dtype=torch.float64)
    maps = theirs.backbone.body(pixels.flip(1))[1:]
    yield "image encoder", "backbone/swint.py", gap(net.backbone.body(pixels.flip(1)), maps)
    levels = theirs.backbone(pixels.flip(1))
    yield "feature pyramid", "backbone/fpn.py", gap(net.backbone.fpn(maps), levels)
    yield "both, with colours", "backbone/__init__.py", gap(net.backbone(pixels), levels)
    batch = texts(both)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    told = theirs.language_backbone({"input_ids": ids, "attention_mask": mask})
    kept = mask[..., None].bool()  # what stands at padding is read by nobody
    read = net.language_backbone(ids, mask)
    yield "text encoder", "language_backbone/bert_model.py", gap(read * kept, told["hidden"] * kept)
    yield from _tower(both, levels, dict(told), mask)
    yield from _predicted(both, levels, dict(told), batch)


def _tower(
    both: Both, levels: Sequence[Tensor], told: dict[str, Any], mask: Tensor
) -> Iterator[Row]:
    names = {
        "VLFuse": ("exchange of streams", "rpn/vldyhead.py, utils/fuse_helper.py"),
        "BertEncoderLayer": ("text layer", "rpn/vldyhead.py, rpn/modeling_bert.py"),
        "DyConv": ("dynamic layer", "rpn/vldyhead.py, layers/dyrelu.py, deform_conv.py"),
    }
    sizes = [(one.shape[2], one.shape[3]) for one in levels]
    state, worst = {"visual": list(levels), "lang": told}, dict[str, float]()
    for layer, own in zip(
        both.theirs.rpn.head.dyhead_tower, both.net.rpn.head.dyhead_tower, strict=True
    ):
        given = (as_tokens(state["visual"]), state["lang"]["hidden"])
        image, text = own(*given, mask, sizes)
        # a dictionary that the peer changes in place
        state = layer({"visual": state["visual"], "lang": dict(state["lang"])})
        kind = type(layer).__name__
        found = max(
            gap(as_maps(image, sizes), list(state["visual"])),
            gap(text * mask[..., None], state["lang"]["hidden"] * mask[..., None]),
        )
        worst[kind] = max(worst.get(kind, 0.0), found)
    for kind, found in worst.items():
        yield (*names[kind], found)


def _predicted(
    both: Both, levels: Sequence[Tensor], told: dict[str, Any], batch: dict[str, Tensor]
) -> Iterator[Row]:
    theirs, head = both.theirs.rpn, both.net.rpn.head
    mask, sizes = batch["attention_mask"], [(one.shape[2], one.shape[3]) for one in levels]
    embedded = told["embedded"]
    _, boxes, central, *_, dots, _, _, _ = theirs.head(levels, dict(told), embedded)
    text = both.net.language_backbone(batch["input_ids"], mask)
    image, text = head.dyhead_tower(as_tokens(levels), text, mask, sizes)
    kept = mask[:, None]
    logits = gap(head.token_logits(image, text) * kept, torch.cat(dots, 1) * kept)
    yield "scores of tokens", "rpn/vldyhead.py", logits
    deltas = head.deltas(image, sizes)
    yield "changes of anchors", "rpn/vldyhead.py", gap(as_maps(deltas, sizes), boxes)
    found = as_maps(head.centerness(image), sizes)
    yield "centerness", "rpn/vldyhead.py", gap(found, central)
    squares = torch.cat(theirs.anchor_generator.grid_anchors(sizes))
    ours = anchors(sizes, both.net.config.strides, both.net.config.anchor_sizes)
    yield "anchors", "rpn/anchor_generator.py", gap(ours, squares)
    coder = theirs.box_selector_test.box_coder
    pairs = zip(deltas, decoded(deltas, ours.double()), strict=True)
    worst = max(gap(one, coder.decode(delta, squares)) for delta, one in pairs)
    yield "boxes", "rpn/vldyhead.py", worst
