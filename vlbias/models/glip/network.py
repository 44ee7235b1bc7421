"""GLIP as a network of transformers: its modules are named as the published checkpoints name their weights."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import BertModel, PreTrainedModel

from vlbias.models.glip.head import Head
from vlbias.models.glip.pyramid import Pyramid
from vlbias.models.glip.shape import GlipConfig
from vlbias.models.glip.swin import Swin

__all__ = ["GlipNet"]


class _ImageEncoder(nn.Module):
    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        self.body, self.fpn = Swin(config), Pyramid(config)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        # trained on blue, green, red
        levels: tuple[Tensor, ...] = self.fpn(self.body(pixels.flip(1)))
        return levels


class _TextBody(nn.Module):
    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        self.model = BertModel(config.text_config, add_pooling_layer=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        text: Tensor = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return text


class _TextEncoder(nn.Module):
    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        self.body = _TextBody(config)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        text: Tensor = self.body(ids, mask)
        return text


class _Proposals(nn.Module):
    def __init__(self, config: GlipConfig) -> None:
        super().__init__()
        self.head = Head(config)


class GlipNet(PreTrainedModel):
    """The network.

    Args:
        config: Its shape.
    """

    config_class = GlipConfig
    base_model_prefix = "glip"
    main_input_name = "pixel_values"
    _supports_sdpa = True

    def __init__(self, config: GlipConfig) -> None:
        super().__init__(config)
        self.backbone = _ImageEncoder(config)
        self.language_backbone = _TextEncoder(config)
        self.rpn = _Proposals(config)
        self.post_init()

    def _init_weights(self, module: Any) -> None:
        """Nothing: parts are initialised where they are made, and a checkpoint has every weight."""

    def forward(
        self,
        pixel_values: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        roles: Tensor,
        classes: int,
    ) -> dict[str, Tensor]:
        """What `Head` finds.

        Args:
            pixel_values: Red, green and blue, [R, 3, H, W].
            input_ids: Tokens of the text, [R, T].
            attention_mask: 0 at padding, [R, T].
            roles: Class of each token, negative for none, [R, T].
            classes: K.
        """
        levels = self.backbone(pixel_values)
        text = self.language_backbone(input_ids, attention_mask)
        found: dict[str, Tensor] = self.rpn.head(levels, text, attention_mask, roles, classes)
        return found
