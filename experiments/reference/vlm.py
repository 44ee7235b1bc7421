"""The generative model: LLaVA of DINOv2, a two-layer projector and SmolLM2, and what one pass learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from reference.photos import MEAN, STD
from torch import Tensor, nn
from transformers import (
    BitImageProcessor,
    Dinov2Config,
    Dinov2Model,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)
from transformers.modeling_outputs import BackboneOutput

__all__ = [
    "Branch",
    "Packed",
    "Patches",
    "assemble",
    "image_tokens",
    "logits",
    "pack",
    "processor_of",
]

IMAGE = "<image>"
BICUBIC = 3  # PIL's number
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def assemble(
    vision: Dinov2Model, language: nn.Module, tokenizer: Any
) -> LlavaForConditionalGeneration:
    """LLaVA with pretrained towers and a fresh projector; the tokenizer gets the image's token.

    Args:
        vision: DINOv2 for photos of its configured size.
        language: A LlamaForCausalLM.
        tokenizer: Of the language model; changed in place.
    """
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    language.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    shape = vision.config.to_dict()
    for key in ("architectures", "_name_or_path"):
        shape.pop(key, None)
    config = LlavaConfig(
        vision_config=Dinov2Config(**shape),
        text_config=language.config,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=image_tokens(vision),
        tie_word_embeddings=language.config.tie_word_embeddings,
    )
    net = LlavaForConditionalGeneration(config)
    net.model.vision_tower.load_state_dict(vision.state_dict())
    net.model.language_model.load_state_dict(language.model.state_dict())
    net.lm_head.load_state_dict(language.lm_head.state_dict())
    return net.eval()


def image_tokens(vision: Dinov2Model) -> int:
    """Tokens of a photo: its patches, without the class token."""
    return int((vision.config.image_size // vision.config.patch_size) ** 2)


def processor_of(tokenizer: Any, side: int, patch: int) -> LlavaProcessor:
    """Whole photos squeezed to a square, with the arithmetic of `photos.to_pixels`; SmolLM2's chat."""
    pixels = BitImageProcessor(
        size={"height": side, "width": side},
        do_center_crop=False,
        resample=BICUBIC,
        image_mean=list(MEAN),
        image_std=list(STD),
    )
    return LlavaProcessor(
        pixels,
        tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE,
        chat_template=CHAT,
    )


class Patches(nn.Module):
    """What the projector reads of photos: patches of the last block, before the last norm.

    Args:
        vision: The image encoder.
    """

    def __init__(self, vision: Dinov2Model) -> None:
        super().__init__()
        self.vision = vision

    def forward(self, pixels: Tensor) -> BackboneOutput:
        """One map, [rows, tokens, width]."""
        states = self.vision(pixels, output_hidden_states=True).hidden_states[-1]
        return BackboneOutput(feature_maps=(states[:, 1:],))


@dataclass(frozen=True)
class Branch:
    """A question and its answer, as tokens behind the photo's.

    Args:
        asked: Tokens up to the answer.
        answer: Tokens that are learnt.
    """

    asked: tuple[int, ...]
    answer: tuple[int, ...]


@dataclass(frozen=True)
class Packed:
    """Several branches behind one photo, none of which sees another: one pass for all.

    Args:
        ids: [tokens] of head and branches; the photo's are a gap between them.
        place: [all tokens] position of each token, the photo's included.
        sees: [all tokens, all tokens] which token reads which.
        learnt: Places whose next token is learnt.
        target: These next tokens.
        branch: Branch of each of them.
    """

    ids: Tensor
    place: Tensor
    sees: Tensor
    learnt: Tensor
    target: Tensor
    branch: Tensor


def pack(head: Sequence[int], photo: int, branches: Sequence[Branch]) -> Packed:
    """Branches behind a head and a photo of so many tokens; exactly as separate passes would be."""
    start = len(head) + photo
    own, place = [-1] * start, list(range(start))
    learnt, target, belongs, ids = [], [], [], list(head)
    for number, branch in enumerate(branches):
        tokens = [*branch.asked, *branch.answer[:-1]]
        first = len(own) + len(branch.asked) - 1
        learnt += range(first, first + len(branch.answer))
        target += branch.answer
        belongs += [number] * len(branch.answer)
        ids += tokens
        own += [number] * len(tokens)
        place += range(start, start + len(tokens))
    branch_of, order = torch.tensor(own), torch.arange(len(own))
    related = (branch_of[:, None] == branch_of[None]) | (branch_of[None] == -1)
    sees = related & (order[None] <= order[:, None])
    return Packed(
        torch.tensor(ids), torch.tensor(place), sees,
        torch.tensor(learnt), torch.tensor(target), torch.tensor(belongs),
    )  # fmt: skip


def logits(net: LlavaForConditionalGeneration, states: Tensor, head: int, packed: Packed) -> Tensor:
    """[learnt, vocabulary] logits of the tokens that are learnt.

    Args:
        net: The model.
        states: [tokens, width] of the photo.
        head: Tokens before the photo.
        packed: What is asked of it.
    """
    words = net.get_input_embeddings()(packed.ids)
    seen = net.model.multi_modal_projector(states)
    stream = torch.cat([words[:head], seen, words[head:]])[None]
    mask = torch.zeros(packed.sees.shape, dtype=stream.dtype)
    mask = mask.masked_fill(~packed.sees, torch.finfo(stream.dtype).min)[None, None]
    found = net.model.language_model(
        inputs_embeds=stream, attention_mask=mask, position_ids=packed.place[None], use_cache=False
    )
    return net.lm_head(found.last_hidden_state[0, packed.learnt])
