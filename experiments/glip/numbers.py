"""A few numbers that the peer computes, for tests that do not have it."""

from __future__ import annotations

import json
import zlib
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from glip.peer import Peer
from glip.sides import SMALL, TEXT, shape_of
from torch import Tensor, nn
from transformers import BertConfig

from vlbias.models.glip.shape import GlipConfig

__all__ = ["write_numbers"]

PLACES = 7
"""Numbers of each tensor that are kept, at even distances."""


def stirred(net: nn.Module) -> nn.Module:
    """Weights that hang on nothing but their names, in double precision."""
    net.double()
    with torch.no_grad():
        for name, weight in net.named_parameters():
            noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(weight.shape)
            scale = 1.2 * weight[0].numel() ** -0.5 if weight.ndim > 1 else 0.2
            quiet = "norm" in name.lower() or ".bn." in name or "gamma" in name
            weight.copy_(torch.from_numpy(noise) * scale + (1.0 if quiet else 0.0))
    return net


@torch.no_grad()
def write_numbers(peer: Peer, file: Path) -> None:
    """Write shape, and what every part of the peer gives for the same photo and text."""
    cfg = peer.settings("glip-tiny", **SMALL)
    theirs: Any = stirred(peer.build(cfg, BertConfig(**TEXT)))
    pixels = np.random.default_rng(0).standard_normal((1, 3, 216, 296))
    ids = torch.tensor([[101, 200, 201, 1012, 203, 204, 102, 0, 0]])
    mask = (ids > 0).long()
    levels = theirs.backbone(torch.from_numpy(pixels).flip(1))
    told = theirs.language_backbone({"input_ids": ids, "attention_mask": mask})
    state: dict[str, Any] = {"visual": list(levels), "lang": dict(told)}
    found = {f"level {i}": _some(one) for i, one in enumerate(levels)}
    found["text"] = _some(told["hidden"][:, :7])
    for number, layer in enumerate(theirs.rpn.head.dyhead_tower):
        state = layer({"visual": state["visual"], "lang": dict(state["lang"])})
        image = torch.cat([one.flatten(2).transpose(1, 2) for one in state["visual"]], 1)
        found[f"image after {number}"] = _some(image)
        found[f"text after {number}"] = _some(state["lang"]["hidden"][:, :7])
    _, boxes, central, *_, dots, _, _, _ = theirs.rpn.head(levels, dict(told), told["embedded"])
    found["scores"] = _some(torch.cat(dots, 1)[:, :, :7])
    for name, maps in (("changes", boxes), ("centerness", central)):
        found[name] = _some(torch.cat([one.flatten(2).transpose(1, 2) for one in maps], 1))
    own = signature(GlipConfig).parameters
    config = shape_of(cfg, TEXT).to_diff_dict()
    shape = {name: value for name, value in config.items() if name in own} | {"text_config": TEXT}
    content = {"shape": shape, "ids": ids.tolist(), "pixels": list(pixels.shape), **found}
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in content.items()]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _some(values: Tensor) -> list[float]:
    flat = values.flatten()
    return [
        float(f"{v:.12g}") for v in flat[torch.linspace(0, len(flat) - 1, PLACES).long()].tolist()
    ]
