"""Minuscule random dual encoders with real tokenizers and image processors, made loud.

Random weights are for wiring: they show that the engine computes what it says, nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny_tokenizers import (
    bert_tokenizer,
    clip_tokenizer,
    roberta_tokenizer,
    siglip2_tokenizer,
    word_tokenizer,
)
from torch import nn

WIDTH, LAYERS, HEADS, PIXELS, PATCH = 16, 3, 2, 28, 14
_SHAPE = {
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
}
_VISION = {**_SHAPE, "image_size": PIXELS, "patch_size": PATCH}


def loud(net: nn.Module, seed: int = 0) -> nn.Module:
    """The net with weights so large that image and text move the outcome far above rounding."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(net.named_parameters()):
            if name in ("logit_scale", "logit_bias") or "norm" in name.lower() or "ln_" in name:
                continue
            fan = parameter[0].numel() if parameter.ndim > 1 else 16 * parameter.numel()
            # one word among many is heard only if its embedding is large, and a pooler ends in
            # tanh, which large weights would deafen
            fan = 1 if "embedding" in name else fan
            size = 0.5 if "pooler" in name else 1.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * size * fan**-0.5)
    return net.eval()


def _size() -> dict[str, int]:
    return {"height": PIXELS, "width": PIXELS}


def _clip() -> tuple[Any, Any, Any]:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    tokenizer = clip_tokenizer()
    text = {
        **_SHAPE,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 24,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    net = CLIPModel(CLIPConfig(text_config=text, vision_config=_VISION, projection_dim=12))
    return net, CLIPImageProcessor(size={"shortest_edge": PIXELS}, crop_size=_size()), tokenizer


def _siglip() -> tuple[Any, Any, Any]:
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    tokenizer = word_tokenizer()
    text = {**_SHAPE, "vocab_size": len(tokenizer), "max_position_embeddings": 16}
    net = SiglipModel(SiglipConfig(text_config=text, vision_config=_VISION))
    return net, SiglipImageProcessor(size=_size()), tokenizer


def _siglip2() -> tuple[Any, Any, Any]:
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model

    tokenizer = siglip2_tokenizer()
    text = {**_SHAPE, "vocab_size": len(tokenizer), "max_position_embeddings": 16}
    vision = {**_SHAPE, "patch_size": PATCH, "num_patches": 4}
    net = Siglip2Model(Siglip2Config(text_config=text, vision_config=vision))
    return net, Siglip2ImageProcessor(patch_size=PATCH, max_num_patches=6), tokenizer


def _pair(vision: Any, text: Any) -> Any:
    from transformers import VisionTextDualEncoderConfig, VisionTextDualEncoderModel

    return VisionTextDualEncoderModel(
        VisionTextDualEncoderConfig.from_vision_text_configs(vision, text, projection_dim=12)
    )


def _bert_config(tokenizer: Any) -> Any:
    from transformers import BertConfig

    return BertConfig(**_SHAPE, vocab_size=len(tokenizer), max_position_embeddings=24)


def _dinov2_bert() -> tuple[Any, Any, Any]:
    from transformers import BitImageProcessor, Dinov2Config

    tokenizer = bert_tokenizer()
    vision = Dinov2Config(**{**_VISION, "mlp_ratio": 2})
    processor = BitImageProcessor(size=_size(), do_center_crop=False)
    return _pair(vision, _bert_config(tokenizer)), processor, tokenizer


def _clip_roberta() -> tuple[Any, Any, Any]:
    from transformers import CLIPImageProcessor, CLIPVisionConfig, RobertaConfig

    tokenizer = roberta_tokenizer()
    text = RobertaConfig(
        **_SHAPE, vocab_size=len(tokenizer), max_position_embeddings=26, pad_token_id=1
    )
    processor = CLIPImageProcessor(size={"shortest_edge": PIXELS}, crop_size=_size())
    return _pair(CLIPVisionConfig(**_VISION), text), processor, tokenizer


def _vit_bert() -> tuple[Any, Any, Any]:
    from transformers import ViTConfig, ViTImageProcessor

    tokenizer = bert_tokenizer()
    return (
        _pair(ViTConfig(**_VISION), _bert_config(tokenizer)),
        ViTImageProcessor(size=_size()),
        tokenizer,
    )


HF: dict[str, Callable[[], tuple[Any, Any, Any]]] = {
    "clip": _clip,
    "siglip": _siglip,
    "siglip2": _siglip2,
    "dinov2-bert": _dinov2_bert,
    "clip-roberta": _clip_roberta,
    "vit-bert": _vit_bert,
}
OPENCLIP = {
    "embed_dim": 12,
    "vision_cfg": {
        "image_size": PIXELS,
        "layers": LAYERS,
        "width": WIDTH,
        "patch_size": PATCH,
        "head_width": WIDTH // HEADS,
    },
    "text_cfg": {
        "context_length": 24,
        "vocab_size": 49408,
        "width": WIDTH,
        "heads": HEADS,
        "layers": LAYERS,
    },
}


def write_hf(name: str, folder: Path) -> Path:
    """The folder of a loud Hugging Face dual encoder, as `save_pretrained` writes it."""
    torch.manual_seed(0)
    net, processor, tokenizer = HF[name]()
    for part in (loud(net), processor, tokenizer):
        part.save_pretrained(folder)
    return folder


def write_openclip(folder: Path) -> Path:
    """The folder of a loud open_clip model, as its hub repositories are laid out."""
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    content = {
        "model_cfg": OPENCLIP,
        "preprocess_cfg": {
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "interpolation": "bicubic",
            "resize_mode": "squash",
        },
    }
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    net = loud(open_clip.CLIP(**OPENCLIP))
    save_file(net.state_dict(), folder / "open_clip_model.safetensors")
    return folder
