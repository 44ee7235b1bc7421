"""The shape of a GLIP, as its config.json holds it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from transformers import BertConfig, PretrainedConfig

__all__ = ["GlipConfig"]

_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class GlipConfig(PretrainedConfig):
    """Shape and settings of a GLIP; by default those of GLIP-T with deep fusion.

    Args:
        embed_dim: Channels of the first layer of the Swin Transformer.
        depths: Blocks of its four layers.
        num_heads: Heads in a block of each layer.
        window_size: Side of its windows, in patches.
        text_config: Settings of the BERT that reads the text.
        channels: Channels of the feature pyramid.
        num_layers: Layers of fusion, each with a step on the image and, if `fused`, on the text.
        fused: Whether image and text see each other before they are compared (deep fusion).
        fusion_width: Width of cross-attention, all heads together.
        fusion_heads: Heads of cross-attention.
        groups: Groups of the group norms.
        strides: Pixels between two places, for each of the five levels.
        anchor_sizes: Side of the anchor of each level, in pixels.
        max_text_len: Most tokens of a text.
        shortest_edge: Side in pixels to which the shorter side of a photo is scaled.
        longest_edge: Most pixels of the longer side.
        divisor: Photos are padded on the right and below to a multiple of so many pixels.
        image_mean: Of red, green and blue, 0 to 255.
        image_std: Of red, green and blue.
        score_threshold: Boxes below are left out before they are compared.
        overlap_threshold: Of two boxes of a class with a larger IoU, the better one is kept.
        candidates: Most boxes of a level that are compared.
        detections: Most boxes of a photo.
    """

    model_type = "glip"
    sub_configs: ClassVar = {"text_config": BertConfig}

    def __init__(
        self,
        embed_dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window_size: int = 7,
        text_config: dict[str, Any] | BertConfig | None = None,
        channels: int = 256,
        num_layers: int = 6,
        fused: bool = True,
        fusion_width: int = 2048,
        fusion_heads: int = 8,
        groups: int = 16,
        strides: Sequence[int] = (8, 16, 32, 64, 128),
        anchor_sizes: Sequence[int] = (64, 128, 256, 512, 1024),
        max_text_len: int = 256,
        shortest_edge: int = 800,
        longest_edge: int = 1333,
        divisor: int = 32,
        image_mean: Sequence[float] = _MEAN,
        image_std: Sequence[float] = _STD,
        score_threshold: float = 0.05,
        overlap_threshold: float = 0.6,
        candidates: int = 1000,
        detections: int = 100,
        **kwargs: Any,
    ) -> None:
        self.embed_dim, self.depths = embed_dim, list(depths)
        self.num_heads, self.window_size = list(num_heads), window_size
        given = isinstance(text_config, BertConfig)
        self.text_config: Any = text_config if given else BertConfig(**(text_config or {}))
        self.channels, self.num_layers, self.fused = channels, num_layers, fused
        self.fusion_width, self.fusion_heads = fusion_width, fusion_heads
        self.groups, self.strides = groups, list(strides)
        self.anchor_sizes, self.max_text_len = list(anchor_sizes), max_text_len
        self.shortest_edge, self.longest_edge = shortest_edge, longest_edge
        self.divisor = divisor
        self.image_mean, self.image_std = list(image_mean), list(image_std)
        self.score_threshold, self.overlap_threshold = score_threshold, overlap_threshold
        self.candidates, self.detections = candidates, detections
        super().__init__(**kwargs)
