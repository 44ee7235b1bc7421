"""One small GLIP twice, ours and the peer's, with the same random weights; and what both are given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from glip.peer import Peer
from PIL import Image
from torch import Tensor, nn
from transformers import BertConfig, BertTokenizerFast

from vlbias.models.glip.adapter import Glip
from vlbias.models.glip.checkpoint import filled, read_weights
from vlbias.models.glip.network import GlipNet
from vlbias.models.glip.shape import GlipConfig

__all__ = ["CLASSES", "SMALL", "TEXT", "Both", "photo", "shape_of", "words"]

CLASSES = ("person", "hot dog", "bicycle", "t-shirt")
SMALL = {
    "MODEL__SWINT__EMBED_DIM": 8,
    "MODEL__SWINT__DEPTHS": (2, 2, 3, 1),
    "MODEL__SWINT__NUM_HEADS": (1, 2, 2, 4),
    "MODEL__SWINT__WINDOW_SIZE": 4,
    "MODEL__SWINT__OUT_CHANNELS": (8, 16, 32, 64),
    "MODEL__BACKBONE__OUT_CHANNELS": 32,
    "MODEL__DYHEAD__CHANNELS": 32,
    "MODEL__DYHEAD__NUM_CONVS": 3,
    "MODEL__DYHEAD__USE_CHECKPOINT": False,
    "MODEL__DYHEAD__FUSE_CONFIG__JOINT_EMB_SIZE": 32,
    "MODEL__LANGUAGE_BACKBONE__LANG_DIM": 24,
    "INPUT__MIN_SIZE_TEST": 200,
    "INPUT__MAX_SIZE_TEST": 333,
}
TEXT = {
    "vocab_size": 1100,
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}


def shape_of(cfg: Any, text: dict[str, Any] | None = None) -> GlipConfig:
    """Our shape for the peer's settings."""
    swin, head = cfg.MODEL.SWINT, cfg.MODEL.DYHEAD
    return GlipConfig(
        embed_dim=swin.EMBED_DIM,
        depths=swin.DEPTHS,
        num_heads=swin.NUM_HEADS,
        window_size=swin.WINDOW_SIZE,
        text_config=text,
        channels=head.CHANNELS,
        num_layers=head.NUM_CONVS,
        fused=head.FUSE_CONFIG.EARLY_FUSE_ON,
        groups=cfg.MODEL.GROUP_NORM.NUM_GROUPS,
        strides=cfg.MODEL.RPN.ANCHOR_STRIDE,
        anchor_sizes=cfg.MODEL.RPN.ANCHOR_SIZES,
        max_text_len=cfg.MODEL.LANGUAGE_BACKBONE.MAX_QUERY_LEN,
        shortest_edge=cfg.INPUT.MIN_SIZE_TEST,
        longest_edge=cfg.INPUT.MAX_SIZE_TEST,
        divisor=cfg.DATALOADER.SIZE_DIVISIBILITY,
        image_mean=cfg.INPUT.PIXEL_MEAN[::-1],
        image_std=cfg.INPUT.PIXEL_STD[::-1],
        score_threshold=cfg.MODEL.ATSS.INFERENCE_TH,
        overlap_threshold=cfg.MODEL.ATSS.NMS_TH,
        candidates=cfg.MODEL.ATSS.PRE_NMS_TOP_N,
        detections=cfg.MODEL.ATSS.DETECTIONS_PER_IMG,
    )


def words() -> Any:
    """A tokenizer of uncased BERT's kind with a few words, its special tokens where they belong."""
    given = ["a", "man", "with", "his", "dog", "##s", "hot", "person", "bicycle", "t", "-", "shirt"]
    vocabulary = {f"[unused{i}]": i for i in range(1100)}
    places = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1029: "?"}
    places |= dict(enumerate(given, start=200)) | {1012: "."}
    for place, word in places.items():
        del vocabulary[f"[unused{place}]"]
        vocabulary[word] = place
    return BertTokenizerFast(vocab=vocabulary, padding_side="right")


def photo(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """A photo of soft noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8, 3))
    return Image.fromarray(pixels.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)


@dataclass
class Both:
    """The two networks.

    Args:
        cfg: The peer's settings.
        theirs: Its network.
        model: Ours, which read the peer's weights from a file as the peer saves it.
    """

    cfg: Any
    theirs: Any
    model: Glip

    @classmethod
    def made(cls, peer: Peer, name: str, file: Path) -> Both:
        """A small network of the kind of a published one.

        Args:
            peer: The peer.
            name: Of the published model.
            file: Where its checkpoint is written.
        """
        cfg = peer.settings(name, **SMALL)
        theirs = peer.build(cfg, BertConfig(**TEXT))
        _stir(theirs)
        weights = {f"module.{name}": value for name, value in theirs.state_dict().items()}
        torch.save({"model": weights, "optimizer": {"state": {}}, "iteration": 7}, file)
        net = filled(GlipNet(shape_of(cfg, TEXT)), read_weights(file), str(file))
        return cls(cfg, theirs, Glip(net, words(), name="small", revision="0"))

    @property
    def net(self) -> Any:
        """Our network."""
        return self.model.net

    def double(self) -> Both:
        """Both in double precision, in place."""
        self.theirs.double()
        self.net.double()
        return self


def _stir(net: nn.Module) -> None:
    """Random weights so large that nothing is passed over."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in sorted(net.named_parameters()):
            noise: Tensor = torch.randn(weight.shape, generator=generator)
            if "norm" in name.lower() or ".bn." in name or "gamma" in name or "scale" in name:
                weight.add_(0.2 * noise)
            elif weight.ndim > 1:
                weight.copy_(noise * 1.2 * weight[0].numel() ** -0.5)
            else:
                weight.add_(0.2 * noise)
        dict(net.named_parameters())["rpn.head.bias0"].fill_(-1.5)
