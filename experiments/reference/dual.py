"""The dual encoder: DINOv2 and MiniLM joined by two projections, and its closed-form start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import VisionTextDualEncoderConfig, VisionTextDualEncoderModel

__all__ = [
    "embed_hidden",
    "embed_photos",
    "embed_texts",
    "join",
    "lower_blocks",
    "start_projections",
    "thaw",
    "upper_blocks",
]

LONGEST = 48  # word pieces; the longest caption of the fit split has 45


def join(vision: nn.Module, text: nn.Module) -> VisionTextDualEncoderModel:
    """The dual encoder of two towers, projections of the text tower's width, not yet useful."""
    for tower in (vision, text):
        tower.config._name_or_path = ""  # else the saved configuration tells a path of this machine
    config = VisionTextDualEncoderConfig.from_vision_text_configs(
        vision.config, text.config, projection_dim=text.config.hidden_size
    )
    return VisionTextDualEncoderModel(config, vision_model=vision, text_model=text).eval()


def tokenised(tokenizer: Any, texts: Sequence[str]) -> dict[str, Tensor]:
    """Token ids and mask of the texts, padded to the longest of them."""
    batch = tokenizer(
        list(texts), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
    )
    return {key: batch[key] for key in ("input_ids", "attention_mask")}


def embed_texts(
    model: VisionTextDualEncoderModel, tokenizer: Any, texts: Sequence[str], batch: int = 64
) -> Tensor:
    """Unit vectors [texts, width]; with gradients wherever the model has them.

    Texts of like length go through together, since padding costs as much as words do.
    """
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    parts = []
    for i in range(0, len(order), batch):
        chunk = tokenised(tokenizer, [texts[j] for j in order[i : i + batch]])
        pooled = model.text_model(**chunk).pooler_output
        parts.append(normalize(model.text_projection(pooled), dim=-1))
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(order))
    return torch.cat(parts)[back]


def embed_photos(model: VisionTextDualEncoderModel, pixels: Tensor, batch: int = 32) -> Tensor:
    """Unit vectors [photos, width] of prepared pixels [photos, 3, side, side]."""
    pooled = [model.vision_model(pixel_values=each).pooler_output for each in pixels.split(batch)]
    return normalize(model.visual_projection(torch.cat(pooled)), dim=-1)


@torch.no_grad()
def lower_blocks(model: VisionTextDualEncoderModel, pixels: Tensor, blocks: int) -> Tensor:
    """Hidden states [photos, tokens, width] after the first `blocks` vision blocks."""
    hidden = model.vision_model.embeddings(pixels)
    for layer in list(model.vision_model.encoder.layer)[:blocks]:
        hidden = layer(hidden)
    return hidden


def upper_blocks(model: VisionTextDualEncoderModel, hidden: Tensor, blocks: int) -> Tensor:
    """The pooled output [photos, width] that follows from `lower_blocks` of the same number."""
    for layer in list(model.vision_model.encoder.layer)[blocks:]:
        hidden = layer(hidden)
    return model.vision_model.layernorm(hidden[:, 0])


def embed_hidden(model: VisionTextDualEncoderModel, hidden: Tensor, blocks: int) -> Tensor:
    """Unit vectors [photos, width] that follow from `lower_blocks` of the same number."""
    pooled = [upper_blocks(model, each.float(), blocks) for each in hidden.split(32)]
    return normalize(model.visual_projection(torch.cat(pooled)), dim=-1)


def ridge(x: Tensor, y: Tensor, penalty: float) -> Tensor:
    """The matrix W [out, in] that minimises |x W' - y|^2 + penalty |W|^2, for centred x and y."""
    gram = x.T @ x + penalty * torch.eye(x.shape[1])
    return torch.linalg.solve(gram, x.T @ y).T


@torch.no_grad()
def start_projections(
    model: VisionTextDualEncoderModel,
    tokenizer: Any,
    pooled: Tensor,
    captions: Sequence[Sequence[str]],
    *,
    text_penalty: float = 1.0,
    image_penalty: float = 300.0,
) -> None:
    """Sets pooler, projections and last norm so that both towers meet in MiniLM's own space.

    MiniLM was trained to be read as the mean over its tokens, while the dual encoder reads its
    pooler, a tanh of a linear map of the first token. That map is fitted to the centred mean
    (coordinates are about .05, where tanh is linear), the visual projection to the mean over
    the captions of a photo. Both are ridge regressions.

    Args:
        model: As `join` returns it; changed in place.
        tokenizer: Of the text tower.
        pooled: What the vision tower pools of each photo, [photos, width].
        captions: The captions of each photo.
        text_penalty: Ridge penalty of the pooler.
        image_penalty: Ridge penalty of the visual projection.
    """
    owned = [(text, row) for row, group in enumerate(captions) for text in group]
    owned.sort(key=lambda pair: len(pair[0]))  # like lengths together, for little padding
    texts, owner = [text for text, _ in owned], torch.tensor([row for _, row in owned])
    first, mean = [], []
    for i in range(0, len(texts), 128):
        batch = tokenised(tokenizer, texts[i : i + 128])
        hidden = model.text_model(**batch).last_hidden_state  # [texts, tokens, width]
        mask = batch["attention_mask"].unsqueeze(-1)
        first.append(hidden[:, 0])
        mean.append(normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1))
    x, y = torch.cat(first), torch.cat(mean)
    y = y - y.mean(0)
    dense = model.text_model.pooler.dense
    dense.weight.copy_(ridge(x - x.mean(0), y, text_penalty))
    dense.bias.copy_(-dense.weight @ x.mean(0))
    model.text_projection.weight.copy_(torch.eye(*model.text_projection.weight.shape))

    # the projection has no bias, so the centre goes into the norm before it
    model.vision_model.layernorm.bias.sub_(pooled.mean(0))
    counts = torch.bincount(owner, minlength=len(pooled)).unsqueeze(1)
    target = torch.zeros(len(pooled), y.shape[1]).index_add_(0, owner, y) / counts
    weight = ridge(pooled - pooled.mean(0), target, image_penalty)
    model.visual_projection.weight.copy_(weight)


def thaw(model: VisionTextDualEncoderModel, vision_blocks: int, text_blocks: int) -> list[str]:
    """Leaves only the upper parts trainable and returns the names of their parameters.

    Args:
        model: The dual encoder; its `requires_grad` flags are changed.
        vision_blocks: How many of the last vision blocks learn.
        text_blocks: How many of the last text blocks learn.
    """
    model.requires_grad_(False)
    heads: list[nn.Module] = [
        model.visual_projection,
        model.text_projection,
        model.vision_model.layernorm,
        model.text_model.pooler,
    ]
    towers = (model.vision_model, vision_blocks), (model.text_model, text_blocks)
    for tower, blocks in towers:
        layers = list(tower.encoder.layer)
        heads += layers[len(layers) - blocks :]
    for module in heads:
        module.requires_grad_(True)
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]
