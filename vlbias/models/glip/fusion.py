"""Deep fusion (Li et al., CVPR 2022, section 3.2): cross-attention both ways, then a BERT layer on the text.

Published weights were trained in half precision; the limits on scores that kept it from overflowing are
part of the function that they are weights of.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlbias.models.glip.shape import GlipConfig

__all__ = ["Fusion", "TextLayer", "limited"]

_LIMIT = 50000.0
_MASKED = -9e15
Streams = tuple[Tensor, Tensor]
"""Tokens of the image [R, N, C], all levels one behind the other, and of the text [R, T, D]."""


def limited(scores: Tensor) -> Tensor:
    """Scores within the limits of half precision, as the published code has them."""
    return scores.clamp(-_LIMIT, _LIMIT)


class _CrossAttention(nn.Module):
    """Both directions from one table of scores: what each stream takes over from the other."""

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        image, text = config.channels, config.text_config.hidden_size
        self.heads = config.fusion_heads
        self.v_proj = nn.Linear(image, config.fusion_width)
        self.l_proj = nn.Linear(text, config.fusion_width)
        self.values_v_proj = nn.Linear(image, config.fusion_width)
        self.values_l_proj = nn.Linear(text, config.fusion_width)
        self.out_v_proj = nn.Linear(config.fusion_width, image)
        self.out_l_proj = nn.Linear(config.fusion_width, text)

    def forward(self, image: Tensor, text: Tensor, mask: Tensor) -> Streams:
        query, key = self._heads(self.v_proj(image)), self._heads(self.l_proj(text))
        scores = limited((query * query.shape[-1] ** -0.5) @ key.transpose(2, 3))
        # of the text no padding is asked for, and every token of an image is one
        by_token = scores.transpose(2, 3)
        by_token = limited(by_token - by_token.amax(-1, keepdim=True)).softmax(-1)
        # the published code adds 1 to the other scores, which the softmax does not see
        by_place = scores.masked_fill(mask[:, None, None] == 0, _MASKED).softmax(-1)
        to_image = by_place @ self._heads(self.values_l_proj(text))
        to_text = by_token @ self._heads(self.values_v_proj(image))
        return self.out_v_proj(_joined(to_image)), self.out_l_proj(_joined(to_text))

    def _heads(self, tokens: Tensor) -> Tensor:
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


def _joined(heads: Tensor) -> Tensor:
    return heads.transpose(1, 2).flatten(2)


class _Exchange(nn.Module):
    """What each stream becomes: its norm, and what it takes over, channel by channel in its own scale."""

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        image, text = config.channels, config.text_config.hidden_size
        self.layer_norm_v, self.layer_norm_l = nn.LayerNorm(image), nn.LayerNorm(text)
        self.attn = _CrossAttention(config)
        self.gamma_v = nn.Parameter(torch.full((image,), 1 / config.num_layers))
        self.gamma_l = nn.Parameter(torch.full((text,), 1 / config.num_layers))

    def forward(self, image: Tensor, text: Tensor, mask: Tensor) -> Streams:
        image, text = self.layer_norm_v(image), self.layer_norm_l(text)
        to_image, to_text = self.attn(image, text, mask)
        return image + self.gamma_v * to_image, text + self.gamma_l * to_text


class Fusion(nn.Module):
    """One exchange between the streams."""

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        self.b_attn = _Exchange(config)

    def forward(self, image: Tensor, text: Tensor, mask: Tensor, sizes: Any) -> Streams:
        """Both streams after it; `mask` [R, T] is 0 at padding."""
        streams: Streams = self.b_attn(image, text, mask)
        return streams


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, text: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (
            part(text).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        scores = limited(query @ key.transpose(2, 3) / query.shape[-1] ** 0.5)
        scores = scores.masked_fill(mask[:, None, None] == 0, torch.finfo(scores.dtype).min)
        return _joined(scores.softmax(-1) @ value)


class _Output(nn.Module):
    """The end of a branch: a projection, added to what the branch began with, and a norm."""

    def __init__(self, inner: int, width: int, eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, width)
        self.LayerNorm = nn.LayerNorm(width, eps=eps)

    def forward(self, inner: Tensor, before: Tensor) -> Tensor:
        normed: Tensor = self.LayerNorm(self.dense(inner) + before)
        return normed


class _LimitedOutput(_Output):
    def forward(self, inner: Tensor, before: Tensor) -> Tensor:
        return limited(self.LayerNorm(limited(self.dense(inner)) + before))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, eps: float) -> None:
        super().__init__()
        self.self = _SelfAttention(width, heads)
        self.output = _Output(width, width, eps)

    def forward(self, text: Tensor, mask: Tensor) -> Tensor:
        attended: Tensor = self.output(self.self(text, mask), text)
        return attended


class _Intermediate(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, inner)

    def forward(self, text: Tensor) -> Tensor:
        return limited(functional.gelu(limited(self.dense(text))))


class TextLayer(nn.Module):
    """A layer of BERT on the text; the image passes by."""

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        text = config.text_config
        width, inner, eps = text.hidden_size, text.intermediate_size, text.layer_norm_eps
        self.attention = _Attention(width, text.num_attention_heads, eps)
        self.intermediate = _Intermediate(width, inner)
        self.output = _LimitedOutput(inner, width, eps)

    def forward(self, image: Tensor, text: Tensor, mask: Tensor, sizes: Any) -> Streams:
        """The text read once more; `mask` [R, T] is 0 at padding."""
        attended = self.attention(text, mask)
        return image, self.output(self.intermediate(attended), attended)
