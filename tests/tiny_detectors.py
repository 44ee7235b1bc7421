"""Minuscule random detectors with real tokenizers and image processors, made loud."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny_models import loud
from tiny_photos import CLASSES
from tiny_tokenizers import WORDS, clip_tokenizer

from vlbias.causal.example import GroundedText, Inputs, mix

PIXELS = 64
OMDET_LIMIT = 48
SEPARATORS = {101: "[CLS]", 102: "[SEP]", 1012: ".", 1029: "?"}


def bert_tokenizer() -> Any:
    """A BERT tokenizer with [CLS], [SEP], "." and "?" where Grounding DINO's code expects them."""
    from transformers import BertTokenizerFast

    words = ["hot", "stop", "sign", *(word for word in WORDS if word != ".")]
    vocabulary = {f"[unused{i}]": i for i in range(1030)}
    for place, word in {0: "[PAD]", 100: "[UNK]", 103: "[MASK]", **SEPARATORS}.items():
        del vocabulary[f"[unused{place}]"]
        vocabulary[word] = place
    for place, word in enumerate(words, start=200):
        del vocabulary[f"[unused{place}]"]
        vocabulary[word] = place
    return BertTokenizerFast(vocab=vocabulary)


def processor() -> Any:
    from transformers import GroundingDinoImageProcessor

    return GroundingDinoImageProcessor(size={"shortest_edge": PIXELS, "longest_edge": 2 * PIXELS})


def square(pixels: int = 56) -> Any:
    """A processor for backbones whose images are squares of whole patches."""
    from transformers import GroundingDinoImageProcessor

    return GroundingDinoImageProcessor(size={"height": pixels, "width": pixels})


def _swin() -> Any:
    from transformers import SwinConfig

    return SwinConfig(
        image_size=PIXELS,
        patch_size=4,
        embed_dim=8,
        depths=[2, 1],
        num_heads=[1, 2],
        window_size=4,
        out_indices=[1, 2],
    )


def _dinov2() -> Any:
    from transformers import Dinov2Config

    return Dinov2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=56,
        patch_size=14,
        out_indices=[2],
    )


def grounding_shape(backbone: Any) -> dict[str, Any]:
    from transformers import BertConfig

    text = BertConfig(
        vocab_size=1030,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    return {
        "backbone_config": backbone,
        "text_config": text,
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "num_queries": 6,
        "num_feature_levels": 3 if backbone.model_type == "swin" else 2,
        "max_text_len": 48,
    }


def _grounding() -> tuple[Any, Any, Any]:
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    net = GroundingDinoForObjectDetection(GroundingDinoConfig(**grounding_shape(_swin())))
    return net, processor(), bert_tokenizer()


def _grounding_dinov2() -> tuple[Any, Any, Any]:
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    net = GroundingDinoForObjectDetection(GroundingDinoConfig(**grounding_shape(_dinov2())))
    return net, square(), bert_tokenizer()


def _mm_grounding() -> tuple[Any, Any, Any]:
    from transformers import MMGroundingDinoConfig, MMGroundingDinoForObjectDetection

    net = MMGroundingDinoForObjectDetection(MMGroundingDinoConfig(**grounding_shape(_swin())))
    return net, processor(), bert_tokenizer()


def _owl_shape(tokenizer: Any) -> dict[str, Any]:
    shape = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    text = {
        **shape,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 16,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {**shape, "image_size": 42, "patch_size": 14}
    return {"text_config": text, "vision_config": vision, "projection_dim": 16}


def _owlv2() -> tuple[Any, Any, Any]:
    from transformers import Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor

    tokenizer = clip_tokenizer()
    net = Owlv2ForObjectDetection(Owlv2Config(**_owl_shape(tokenizer)))
    return net, Owlv2ImageProcessor(size={"height": 42, "width": 42}), tokenizer


def _owlvit() -> tuple[Any, Any, Any]:
    from transformers import OwlViTConfig, OwlViTForObjectDetection, OwlViTImageProcessor

    tokenizer = clip_tokenizer()
    net = OwlViTForObjectDetection(OwlViTConfig(**_owl_shape(tokenizer)))
    return net, OwlViTImageProcessor(size={"height": 42, "width": 42}), tokenizer


def _omdet_shape(backbone: Any, tokenizer: Any) -> dict[str, Any]:
    from transformers import CLIPTextConfig

    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=16,
        max_position_embeddings=OMDET_LIMIT,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return {
        "backbone_config": backbone,
        "text_config": text,
        "text_projection_in_dim": 16,
        "text_projection_out_dim": 16,
        "class_embed_dim": 16,
        "task_encoder_hidden_dim": 32,
        "encoder_hidden_dim": 32,
        "encoder_attention_heads": 4,
        "encoder_dim_feedforward": 32,
        "decoder_hidden_dim": 32,
        "decoder_num_heads": 4,
        "decoder_num_layers": 2,
        "decoder_dim_feedforward": 32,
        "num_queries": 6,
        "image_size": PIXELS,
    }


def _omdet() -> tuple[Any, Any, Any]:
    from transformers import OmDetTurboConfig, OmDetTurboForObjectDetection

    tokenizer = clip_tokenizer(("detect", "hot", "stop", "sign"))
    config = OmDetTurboConfig(
        **_omdet_shape(_swin(), tokenizer),
        # the library's Swin has norms of its own, timm's has none
        apply_layernorm_after_vision_backbone=False,
        encoder_in_channels=[8, 16],
        encoder_projection_indices=[1],
        vision_features_channels=[32, 32],
        num_feature_levels=2,
    )
    return OmDetTurboForObjectDetection(config), square(PIXELS), tokenizer


def omdet_timm() -> tuple[Any, Any, Any]:
    """One with timm's Swin-T, as the published one has; too large to be written for a test."""
    from transformers import OmDetTurboConfig, OmDetTurboForObjectDetection

    tokenizer = clip_tokenizer(("detect", "hot", "stop", "sign"))
    config = OmDetTurboConfig(**_omdet_shape(None, tokenizer), vision_features_channels=[32] * 3)
    return OmDetTurboForObjectDetection(config), square(PIXELS), tokenizer


GLIP = {
    "embed_dim": 8,
    "depths": (2, 1, 1, 1),
    "num_heads": (1, 2, 2, 4),
    "window_size": 4,
    "text_config": {
        "vocab_size": 1030,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
    },
    "channels": 16,
    "num_layers": 2,
    "fusion_width": 16,
    "fusion_heads": 4,
    "groups": 4,
    "anchor_sizes": (8, 16, 32, 64, 128),
    "max_text_len": 48,
    "shortest_edge": PIXELS // 2,
    "longest_edge": PIXELS,
    "detections": 20,
}


def _glip(*, fused: bool = True) -> tuple[Any, Any, Any]:
    from vlbias.models.glip.network import GlipNet
    from vlbias.models.glip.shape import GlipConfig

    return GlipNet(GlipConfig(**GLIP, fused=fused)), None, bert_tokenizer()


def _glip_apart() -> tuple[Any, Any, Any]:
    return _glip(fused=False)


DETECTORS: dict[str, Callable[[], tuple[Any, Any, Any]]] = {
    "glip": _glip,
    "glip-apart": _glip_apart,
    "grounding-dino": _grounding,
    "grounding-dino-dinov2": _grounding_dinov2,
    "mm-grounding-dino": _mm_grounding,
    "omdet-turbo": _omdet,
    "owlv2": _owlv2,
    "owlvit": _owlvit,
}
GROUNDED = ("grounding-dino", "grounding-dino-dinov2", "mm-grounding-dino")
OWLS = ("owlv2", "owlvit")


def write_detector(name: str, folder: Path) -> Path:
    """The folder of a loud detector, as `save_pretrained` writes it."""
    torch.manual_seed(0)
    net, images, tokenizer = DETECTORS[name]()
    for part in (loud_detector(net), images, tokenizer):
        if part is not None:  # GLIP has no processor of images
            part.save_pretrained(folder)
    return folder


def loud_detector(net: Any) -> Any:
    """Loud weights; scales of fusion layers, which start at 1e-4, are set to 1.

    Cross-attention is left quieter: the library takes the largest logit of the whole batch from all,
    so that what large ones are rounded by depends on the neighbours.
    """
    loud(net)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(("vision_param", "text_param", "gamma_v", "gamma_l", "bn.weight")):
                parameter.fill_(1.0)
            if name.endswith(("attn.vision_proj.weight", "attn.text_proj.weight")):
                parameter.mul_(0.3)
    return net


def grounded(inputs: Inputs) -> Inputs:
    """The inputs with their text before a list of classes."""
    return mix(inputs, {"text": GroundedText(f"{inputs['text']}. ", CLASSES)}, {"text"})
