"""Minuscule image-text models; a stub writes the image's tokens and pixels as processors do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from tiny_image_text import TEXT, VISION, VOCABULARY, Made, tokenizer
from tiny_image_text_real import GRID
from torch import Tensor

Given = dict[str, Tensor]
MASKED = {"rope_type": "default", "rope_theta": 10000.0}


class Stub:
    """What a processor gives for one photo: its tokens before the text, and 32 pixels a side.

    Args:
        tokenizer: Of words.
        image: The id of an image token.
        count: Of image tokens.
        more: Changes what is given into what the network takes.
    """

    chat_template, image_token, image_processor = None, "", None

    def __init__(
        self, read: Any, image: int, count: int, more: Callable[[Given], Given] = dict
    ) -> None:
        self.tokenizer, self._image, self._count, self._more = read, image, count, more

    def __call__(
        self, *, text: Sequence[str], images: Sequence[Sequence[Image.Image]], return_tensors: str
    ) -> Given:
        ids = torch.tensor([[self._image] * self._count + self.tokenizer(text[0])["input_ids"]])
        small = np.asarray(images[0][0].resize((32, 32)), dtype=np.float32)
        pixels = torch.tensor(small / 127.5 - 1).permute(2, 0, 1)[None]
        return self._more(
            {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
        )


def _reader() -> tuple[Any, int]:
    read = tokenizer("<image>", bos=False)
    return read, read.convert_tokens_to_ids("<image>")


def _siglip() -> Any:
    import transformers as hf

    return hf.SiglipVisionConfig(**VISION, vision_use_head=False)


def _is_image(given: Given, image: int) -> Tensor:
    return (given["input_ids"] == image).long()


def janus() -> Made:
    import transformers as hf

    read, image = _reader()
    vision = hf.JanusVisionConfig(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
        projection_dim=32,
        mlp_ratio=2.0,
        num_image_tokens=16,
    )
    codes = hf.JanusVQVAEConfig(
        embed_dim=8,
        num_embeddings=16,
        base_channels=32,
        channel_multiplier=[1, 1],
        num_res_blocks=1,
        num_patches=4,
        projection_dim=32,
        image_token_embed_dim=32,
        latent_channels=32,
    )
    text = hf.LlamaConfig(**TEXT)
    config = hf.JanusConfig(
        vision_config=vision, vq_config=codes, text_config=text, image_token_id=image
    )
    return hf.JanusForConditionalGeneration(config), Stub(read, image, 16)


def aya_vision() -> Made:
    import transformers as hf

    read, image = _reader()
    text = hf.Cohere2Config(**TEXT, sliding_window=8)
    config = hf.AyaVisionConfig(vision_config=_siglip(), text_config=text, image_token_index=image)
    return hf.AyaVisionForConditionalGeneration(config), Stub(read, image, 4)


def deepseek_vl() -> Made:
    import transformers as hf

    read, image = _reader()
    text = hf.LlamaConfig(**TEXT)
    config = hf.DeepseekVLConfig(vision_config=_siglip(), text_config=text, image_token_id=image)
    return hf.DeepseekVLForConditionalGeneration(config), Stub(read, image, 16)


def idefics2() -> Made:
    import transformers as hf

    read, image = _reader()
    perceiver = {
        "hidden_size": 32,
        "resampler_n_latents": 4,
        "resampler_depth": 1,
        "resampler_n_heads": 4,
        "resampler_head_dim": 8,
        "num_key_value_heads": 2,
    }
    config = hf.Idefics2Config(
        vision_config=VISION,
        perceiver_config=perceiver,
        text_config=hf.MistralConfig(**TEXT),
        image_token_id=image,
    )

    def more(given: Given) -> Given:
        mask = torch.ones(1, 1, 32, 32, dtype=torch.long)
        return {**given, "pixel_values": given["pixel_values"][None], "pixel_attention_mask": mask}

    return hf.Idefics2ForConditionalGeneration(config), Stub(read, image, 4, more)


def mllama() -> Made:
    import transformers as hf

    read, image = _reader()
    vision = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_global_layers": 1,
        "attention_heads": 4,
        "intermediate_size": 64,
        "vision_output_dim": 64,
        "image_size": 32,
        "patch_size": 8,
        "max_num_tiles": 2,
        "intermediate_layers_indices": [1],
        "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]],
    }
    shape = {key: size for key, size in TEXT.items() if key != "head_dim"}
    text = {**shape, "num_hidden_layers": 4, "cross_attention_layers": [1, 3]}
    config = hf.MllamaConfig(
        vision_config=vision,
        text_config={**text, "rope_parameters": MASKED},
        image_token_index=image,
    )

    def more(given: Given) -> Given:
        tiles = torch.zeros(1, 1, 2, 3, 32, 32)
        tiles[0, 0, 0] = given["pixel_values"][0]
        seen = torch.zeros(1, given["input_ids"].shape[1], 1, 2, dtype=torch.long)
        seen[:, :, 0, 0] = 1
        return {
            **given,
            "pixel_values": tiles,
            "aspect_ratio_ids": torch.tensor([[1]]),
            "aspect_ratio_mask": torch.tensor([[[1, 0]]]),
            "cross_attention_mask": seen,
        }

    return hf.MllamaForConditionalGeneration(config), Stub(read, image, 1, more)


def kosmos2() -> Made:
    import transformers as hf

    read, image = _reader()
    text = {
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 128,
        "embed_dim": 32,
        "layers": 3,
        "ffn_dim": 64,
        "attention_heads": 4,
    }
    config = hf.Kosmos2Config(text_config=text, vision_config=VISION, latent_query_num=4)
    config.image_token_id = image

    def more(given: Given) -> Given:
        return {**given, "image_embeds_position_mask": _is_image(given, image)}

    return hf.Kosmos2ForConditionalGeneration(config), Stub(read, image, 4, more)


def _packed(given: Given, image: int) -> Given:
    """The pixels as Qwen's processors pack them."""
    import transformers as hf

    size = {"shortest_edge": 32 * 32, "longest_edge": 32 * 32}
    make = hf.Qwen2VLImageProcessor(patch_size=8, merge_size=2, temporal_patch_size=2, size=size)
    pixels = ((given["pixel_values"][0].permute(1, 2, 0) + 1) * 127.5).numpy().astype(np.uint8)
    made = make(images=[Image.fromarray(pixels)], return_tensors="pt")
    given = {**given, "mm_token_type_ids": _is_image(given, image)}
    return {**given, **{key: made[key] for key in ("pixel_values", "image_grid_thw")}}


def qwen3_5() -> Made:
    import transformers as hf

    read, image = _reader()
    rope = {**MASKED, "mrope_section": [1, 1, 2], "partial_rotary_factor": 1.0}
    text = {
        **TEXT,
        "num_hidden_layers": 4,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "layer_types": ["linear_attention"] * 3 + ["full_attention"],
        "rope_parameters": {**rope, "mrope_interleaved": True},
    }
    config = hf.Qwen3_5Config(
        text_config=text,
        vision_config={**GRID, "depth": 3, "num_position_embeddings": 16},
        image_token_id=image,
        video_token_id=VOCABULARY - 1,
        vision_start_token_id=VOCABULARY - 2,
        vision_end_token_id=VOCABULARY - 3,
    )
    stub = Stub(read, image, 4, lambda given: _packed(given, image))
    return hf.Qwen3_5ForConditionalGeneration(config), stub


def glm4v() -> Made:
    import transformers as hf

    read, image = _reader()
    config = hf.Glm4vConfig(
        text_config={**TEXT, "rope_parameters": {**MASKED, "mrope_section": [1, 1, 2]}},
        vision_config={**GRID, "depth": 3, "image_size": 32},
        image_token_id=image,
        video_token_id=VOCABULARY - 1,
        image_start_token_id=VOCABULARY - 2,
        image_end_token_id=VOCABULARY - 3,
    )
    stub = Stub(read, image, 4, lambda given: _packed(given, image))
    return hf.Glm4vForConditionalGeneration(config), stub


STUBBED = {
    made.__name__: made
    for made in (janus, aya_vision, deepseek_vl, idefics2, mllama, kosmos2, qwen3_5, glm4v)
}
