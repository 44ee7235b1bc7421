"""What the head compares and predicts: token by token scores, boxes, and how central a place is in its box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlbias.causal.detection_readout import NEVER
from vlbias.models.glip.dynamic_head import DynamicLayer, Sizes, as_tokens
from vlbias.models.glip.fusion import Fusion, TextLayer, limited
from vlbias.models.glip.shape import GlipConfig

__all__ = ["Head", "anchors", "class_scores", "decoded"]

_PRIOR = 0.01
_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
_LARGEST = math.log(1000 / 16)


class _Tower(nn.ModuleList):
    """The layers of fusion, each of an exchange, a step on the text and one on the image."""

    def forward(
        self, image: Tensor, text: Tensor, mask: Tensor, sizes: Any
    ) -> tuple[Tensor, Tensor]:
        for layer in self:
            image, text = layer(image, text, mask, sizes)
        return image, text


class _PlaceLinear(nn.Conv2d):
    """A convolution of single places, on places [R, N, C]."""

    def __init__(self, channels: int, given: int) -> None:
        super().__init__(channels, given, 1)

    def forward(self, places: Tensor) -> Tensor:
        return functional.linear(places, self.weight[:, :, 0, 0], self.bias)


class _Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, values: Tensor) -> Tensor:
        return values * self.scale


class Head(nn.Module):
    """The tower of fusion, and what is read from its end.

    Args:
        config: The shape of the model.
    """

    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        self._strides, self._sides = config.strides, config.anchor_sizes
        width, channels = config.text_config.hidden_size, config.channels
        parts = (Fusion, TextLayer, DynamicLayer) if config.fused else (DynamicLayer,)
        self.dyhead_tower = _Tower(part(config) for _ in range(config.num_layers) for part in parts)
        self.bbox_pred = _PlaceLinear(channels, 4)
        self.centerness = _PlaceLinear(channels, 1)
        self.dot_product_projection_text = nn.Linear(width, channels)
        self.log_scale = nn.Parameter(torch.zeros(1))
        self.bias_lang = nn.Parameter(torch.zeros(width))
        self.bias0 = nn.Parameter(torch.full((1,), -math.log(1 / _PRIOR - 1)))
        self.scales = nn.ModuleList(_Scale() for _ in config.strides)
        # what is found, as one value that can be replaced
        self.found = nn.Identity()

    def forward(
        self, levels: Sequence[Tensor], text: Tensor, mask: Tensor, roles: Tensor, classes: int
    ) -> dict[str, Tensor]:
        """What is found at N places.

        Args:
            levels: Of the pyramid.
            text: Tokens [R, T, D].
            mask: 0 at padding, [R, T].
            roles: Class of each token, negative for none, [R, T].
            classes: K.

        Returns:
            boxes in pixels of the scaled photo [R, N, 4], logits of classes [R, N, K], and central, the
            logits of being central in the box, [R, N, 1].
        """
        sizes = [(one.shape[2], one.shape[3]) for one in levels]
        image, text = self.dyhead_tower(as_tokens(levels), text, mask, sizes)
        logits, deltas = self.token_logits(image, text), self.deltas(image, sizes)
        boxes = decoded(deltas, anchors(sizes, self._strides, self._sides).to(deltas))
        central = self.centerness(image)
        scores = class_scores(logits, central, roles, classes)
        found: dict[str, Tensor] = self.found(
            {"boxes": boxes, "logits": scores, "central": central}
        )
        return found

    def token_logits(self, image: Tensor, text: Tensor) -> Tensor:
        """How well every place fits every token, [R, N, T] (equation 3 of the paper, with a bias)."""
        text = functional.normalize(text, dim=-1)
        words = self.dot_product_projection_text(text / 2)
        bias = text @ self.bias_lang + self.bias0
        return limited(image @ words.transpose(1, 2) / self.log_scale.exp() + bias[:, None])

    def deltas(self, image: Tensor, sizes: Sizes) -> Tensor:
        """What is changed of each anchor to be a box, [R, N, 4]."""
        levels = self.bbox_pred(image).split([high * wide for high, wide in sizes], 1)
        return torch.cat([scale(one) for scale, one in zip(self.scales, levels, strict=True)], 1)


def anchors(sizes: Sizes, strides: Sequence[int], sides: Sequence[int]) -> Tensor:
    """A square in the middle of every place: left, top, right, bottom, the last ones inside, [N, 4]."""
    levels = []
    for (high, wide), stride, side in zip(sizes, strides, sides, strict=True):
        down, right = (torch.arange(n, dtype=torch.float32) * stride for n in (high, wide))
        middle = torch.cartesian_prod(down, right).flip(1) + (stride - 1) / 2
        half = (side - 1) / 2
        levels.append(torch.cat([middle - half, middle + half], 1))
    return torch.cat(levels)


def decoded(deltas: Tensor, squares: Tensor) -> Tensor:
    """Boxes of what is changed of anchors, [R, N, 4] both; in pixels, the last ones inside."""
    low, high = squares.chunk(2, -1)
    side, middle = high - low + 1, (low + high) / 2
    move, grow = (deltas / deltas.new_tensor(_WEIGHTS)).chunk(2, -1)
    centre = middle + move * side
    reach = (grow.clamp(max=_LARGEST).exp() * side - 1) / 2
    return torch.cat([centre - reach, centre + reach], -1)


def class_scores(logits: Tensor, central: Tensor, roles: Tensor, classes: int) -> Tensor:
    """Logits of the scores of classes, [R, N, K].

    A score is the root of the mean probability of a class's tokens times that of being central.

    Args:
        logits: Of places and tokens, [R, N, T].
        central: Logits of being central, [R, N, 1].
        roles: Class of each token, negative for none, [R, T].
        classes: K; one without a token gets `NEVER`.
    """
    own = (roles[..., None] == torch.arange(classes, device=roles.device)).to(logits.dtype)
    count = own.sum(1, keepdim=True)
    share = own / count.clamp(min=1)
    # the complement by itself: a probability that rounds to 1 has a logit nevertheless
    fits, misfits = logits.sigmoid() @ share, (-logits).sigmoid() @ share
    tiny = torch.finfo(logits.dtype).tiny
    squared = (fits * central.sigmoid()).clamp(min=tiny)
    rest = (misfits + fits * (-central).sigmoid()).clamp(min=tiny)
    found = squared.log() / 2 + squared.sqrt().log1p() - rest.log()
    return found.masked_fill(count == 0, NEVER)
