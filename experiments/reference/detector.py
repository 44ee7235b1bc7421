"""The detector: Grounding DINO of DINOv2, MiniLM and a small deep fusion, with kept features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from reference.photos import MEAN, STD
from torch import Tensor, nn
from transformers import (
    Dinov2Config,
    Dinov2Model,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
)
from transformers.modeling_outputs import BackboneOutput, BaseModelOutput

from vlbias.causal.detection_readout import class_logits
from vlbias.causal.example import GroundedText
from vlbias.errors import BadData
from vlbias.models.phrases import PhraseReader

__all__ = [
    "Kept",
    "KeptText",
    "assemble",
    "detect",
    "image_processor",
    "prompt_of",
    "reader_of",
    "tokens_of",
    "with_kept",
]

BICUBIC = 3  # PIL's number
TOKENS = 256


class Kept(nn.Module):
    """Stands for the frozen backbone in training: gives the feature maps that were kept.

    Args:
        maps: Of the current batch, [rows, width, side, side]; set before every pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maps: tuple[Tensor, ...] = ()

    def forward(self, pixel_values: Tensor, **_: Any) -> BackboneOutput:
        """The maps, whatever the pixels."""
        return BackboneOutput(feature_maps=self.maps)


class KeptText(nn.Module):
    """Stands for a frozen text encoder in training: each text is encoded once, in half precision.

    Args:
        encoder: The text encoder, no parameter of this module.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self._encoder, self._states = (encoder,), dict[bytes, Tensor]()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        position_ids: Tensor,
        **_: Any,
    ) -> BaseModelOutput:
        """The states of each row's tokens; zeros where it is padded."""
        counts = (input_ids != self._encoder[0].config.pad_token_id).sum(1).tolist()
        keys = [row[:n].numpy().tobytes() for row, n in zip(input_ids.cpu(), counts, strict=True)]
        fresh = [i for i, key in enumerate(keys) if key not in self._states]
        if fresh:
            with torch.no_grad():
                found = self._encoder[0](
                    input_ids[fresh], attention_mask[fresh], token_type_ids[fresh],
                    position_ids[fresh],
                ).last_hidden_state  # fmt: skip
            for i, states in zip(fresh, found, strict=True):
                self._states[keys[i]] = states[: counts[i]].half().clone()
        rows = nn.utils.rnn.pad_sequence([self._states[key] for key in keys], batch_first=True)
        short = input_ids.shape[1] - rows.shape[1]
        return BaseModelOutput(nn.functional.pad(rows.float(), (0, 0, 0, short)))


def assemble(
    vision: Dinov2Model,
    text: nn.Module,
    *,
    width: int,
    layers: int,
    queries: int,
    taps: Sequence[int],
    dropout: float = 0.0,
) -> GroundingDinoForObjectDetection:
    """The detector with pretrained encoders; fusion encoder and decoder are fresh, see `detector_start`.

    Args:
        vision: DINOv2 for photos of its configured size.
        text: A BertModel; its pooler is left out.
        width: Of fusion encoder and decoder.
        layers: Of each of the two.
        queries: Boxes that the decoder gives.
        taps: Blocks of DINOv2, counted from 1, whose outputs are feature levels; one coarser level
            is added.
        dropout: Of everything that layers of fusion encoder and decoder add.
    """
    shape = {**vision.config.to_dict(), "out_indices": list(taps), "out_features": None}
    for key in ("stage_names", "architectures", "_name_or_path"):
        shape.pop(key, None)
    config = GroundingDinoConfig(
        backbone_config=Dinov2Config(**shape),
        text_config=text.config,
        d_model=width,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
        num_queries=queries,
        num_feature_levels=len(taps) + 1,
        max_text_len=TOKENS,
        dropout=dropout,
        text_enhancer_dropout=dropout,
        fusion_droppath=dropout,
    )
    net = GroundingDinoForObjectDetection(config)
    net.model.backbone.conv_encoder.model.load_state_dict(vision.state_dict())
    weights = {k: v for k, v in text.state_dict().items() if not k.startswith("pooler.")}
    net.model.text_backbone.load_state_dict(weights)
    return net.eval()


def image_processor(side: int) -> GroundingDinoImageProcessor:
    """Whole photos squeezed to a square, with the arithmetic of `photos.to_pixels`."""
    return GroundingDinoImageProcessor(
        size={"height": side, "width": side},
        resample=BICUBIC,
        image_mean=list(MEAN),
        image_std=list(STD),
    )


def reader_of(net: GroundingDinoForObjectDetection, tokenizer: Any) -> PhraseReader:
    """How the adapter of vlbias reads texts, so that training and studies read the same."""
    limit = min(TOKENS, net.config.text_config.max_position_embeddings)
    return PhraseReader(
        "reference-detector", tokenizer, limit, tuple(net.model.special_tokens.tolist())
    )


def prompt_of(caption: str, categories: Sequence[str]) -> GroundedText:
    """The caption, gender words and all, before the list of categories; without one the list."""
    words = " ".join(caption.split()).rstrip(" .")
    return GroundedText(f"{words}. " if words else "", tuple(categories))


def tokens_of(reader: PhraseReader, texts: Sequence[GroundedText]) -> dict[str, Tensor]:
    """What the detector reads for these texts.

    Raises:
        BadData: if the categories of a text do not fit into one, so that a part of them would never be
            learnt.
    """
    pieces = [reader.pieces(text) for text in texts]
    if any(len(parts) > 1 for parts in pieces):
        count = max(len(text.phrases) for text in texts)
        raise BadData(
            f"{count} categories do not fit into one text of {reader.limit} tokens; train on fewer"
        )
    return reader.read([parts[0] for parts in pieces])


@contextmanager
def with_kept(net: GroundingDinoForObjectDetection, *, text: bool) -> Iterator[Kept]:
    """Puts `Kept` in the backbone's place, and `KeptText` in the text encoder's if asked for."""
    encoder, words = net.model.backbone.conv_encoder, net.model.text_backbone
    kept, backbone = Kept(), encoder.model
    encoder.model = kept
    if text:
        net.model.text_backbone = KeptText(words)
    try:
        yield kept
    finally:
        encoder.model, net.model.text_backbone = backbone, words


def forward(
    net: Any,
    kept: Kept,
    features: Tensor,
    tokens: dict[str, Tensor],
    side: int,
    precision: str = "float32",
) -> Any:
    """The detector's output for kept features [rows, taps, width, s, s], in float32.

    Args:
        net: The detector with `Kept` in its backbone's place.
        kept: That stand-in.
        features: Of the photos.
        tokens: Of their texts.
        side: Of the squares that the features were made of.
        precision: Of the products of matrices on the way, "bfloat16" where a machine is faster so.
    """
    kept.maps = tuple(features.float().unbind(1))
    # only the shape of the pixels is read: one number expanded takes no memory
    pixels = features.new_zeros((1, 1, 1, 1), dtype=torch.float32)
    pixels = pixels.expand(len(features), 3, side, side)
    read = {key: tokens[key] for key in ("input_ids", "attention_mask", "token_type_ids")}
    lower = precision != "float32"
    with torch.autocast(features.device.type, getattr(torch, precision), enabled=lower):
        found = net(pixel_values=pixels, **read)
    if lower:
        for name, value in found.items():
            if isinstance(value, Tensor) and value.is_floating_point():
                found[name] = value.float()
    return found


@torch.inference_mode()
def detect(
    net: Any, kept: Kept, features: Tensor, tokens: dict[str, Tensor], side: int
) -> tuple[Tensor, Tensor]:
    """Boxes [rows, Q, 4] as relative centre and size, and logits of classes [rows, Q, K]."""
    found = forward(net, kept, features, tokens, side)
    classes = int(tokens["classes"][0])
    return found.pred_boxes, class_logits(found.logits, tokens["roles"], classes)
