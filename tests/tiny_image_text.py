"""Minuscule random image-text models with their processors, made loud; random weights are for wiring."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from vlbias.causal.cloze import Cloze
from vlbias.causal.example import Inputs, Picture

_WRITTEN = """
    a an the photo of man woman person with cup dog cat umbrella bicycle riding horse is there in this image ?
    . : , yes no Yes No not here he she they nurse doctor teacher said that Is Answer or do you see Do contain
    does Does near USER ASSISTANT
"""
WORDS = _WRITTEN.split()
VOCABULARY = 256
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
Made = tuple[nn.Module, Any]


def tokenizer(*special: str, bos: bool = True, **named: str) -> Any:
    """A word a token, every other sign one of its own."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    signs = [chr(code) for code in range(33, 127)]
    every = dict.fromkeys(["<pad>", "<s>", "</s>", "<unk>", *special, *WORDS, *signs])
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(every)}, "<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    if bos:
        inner.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens=named,
        padding_side="right",
    )
    made.add_tokens(list(special), special_tokens=True)
    return made


def chat(image: str) -> str:
    """A chat template in which an image is so written."""
    return (
        "{% for m in messages %}USER: {% for c in m['content'] %}{% if c['type']=='image' %}"
        + image
        + " {% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}"
        "{% if add_generation_prompt %} ASSISTANT:{% endif %}"
    )


def made_loud(net: nn.Module, seed: int = 0) -> nn.Module:
    """The net with weights so large that image and text move the answers far above rounding."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(net.named_parameters()):
            noise = torch.randn(weight.shape, generator=generator)
            if weight.ndim > 1:
                weight.copy_(noise * 1.5 * weight.shape[-1] ** -0.5)
            elif "norm" in name.lower() and name.endswith("weight"):
                weight.copy_(1 + 0.1 * noise)
            else:
                weight.copy_(0.1 * noise)
    return net.eval()


def llava() -> Made:
    import transformers as hf

    read = tokenizer("<image>")
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**VISION, projection_dim=16),
        text_config=hf.LlamaConfig(**TEXT),
        image_token_id=read.convert_tokens_to_ids("<image>"),
    )
    pixels = hf.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    processor = hf.LlavaProcessor(
        pixels,
        read,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat("<image>"),
    )
    return hf.LlavaForConditionalGeneration(config), processor


def qwen2_vl() -> Made:
    import transformers as hf

    marks = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    read = tokenizer(*marks, bos=False)
    start, end, image, video = map(read.convert_tokens_to_ids, marks)
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    vision = {
        "depth": 3,
        "embed_dim": 32,
        "hidden_size": 32,
        "num_heads": 4,
        "mlp_ratio": 2,
        "patch_size": 8,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    config = hf.Qwen2VLConfig(
        vision_config=vision,
        text_config={**TEXT, "rope_parameters": rope},
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    size = {"shortest_edge": 32 * 32, "longest_edge": 48 * 48}
    pixels = hf.Qwen2VLImageProcessor(patch_size=8, merge_size=2, temporal_patch_size=2, size=size)
    template = chat("<|vision_start|><|image_pad|><|vision_end|>")
    processor = hf.Qwen2VLProcessor(
        pixels, read, hf.Qwen2VLVideoProcessor(), chat_template=template
    )
    return hf.Qwen2VLForConditionalGeneration(config), processor


def smolvlm() -> Made:
    import transformers as hf

    places = [f"<row_{i}_col_{j}>" for i in range(1, 4) for j in range(1, 4)]
    marks = ("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
    read = tokenizer(*marks, *places)
    config = hf.SmolVLMConfig(
        vision_config=hf.SmolVLMVisionConfig(**VISION),
        text_config=hf.LlamaConfig(**TEXT),
        scale_factor=2,
        image_token_id=read.convert_tokens_to_ids("<image>"),
        pad_token_id=0,
    )
    pixels = hf.SmolVLMImageProcessor(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, do_image_splitting=False
    )
    processor = hf.SmolVLMProcessor(
        pixels,
        read,
        image_seq_len=4,
        chat_template=chat("<image>"),
        video_processor=hf.SmolVLMVideoProcessor(),
    )
    return hf.SmolVLMForConditionalGeneration(config), processor


def paligemma() -> Made:
    import transformers as hf

    read = tokenizer("<image>", *(f"<loc{i:04d}>" for i in range(3)))
    config = hf.PaliGemmaConfig(
        vision_config=hf.SiglipVisionConfig(**VISION, vision_use_head=False, num_image_tokens=16),
        text_config=hf.GemmaConfig(**{**TEXT, "num_key_value_heads": 1}),
        projection_dim=32,
        hidden_size=32,
        image_token_index=read.convert_tokens_to_ids("<image>"),
    )
    net = hf.PaliGemmaForConditionalGeneration(config)
    pixels = hf.SiglipImageProcessor(size={"height": 32, "width": 32})
    pixels.image_seq_length = 16
    processor = hf.PaliGemmaProcessor(pixels, read)
    if len(read) > VOCABULARY:
        net.resize_token_embeddings(len(read))
    return net, processor


FAMILIES: dict[str, Callable[[], Made]] = {
    "llava": llava,
    "qwen2_vl": qwen2_vl,
    "smolvlm": smolvlm,
    "paligemma": paligemma,
}


def image_text(kind: str, seed: int = 0) -> Any:
    """The staged model of a family."""
    from vlbias.models.image_text.adapter import ImageText

    net, processor = FAMILIES[kind]()
    return ImageText(made_loud(net, seed), processor, name=kind, revision=f"random:{seed}")


def write_image_text(kind: str, folder: Path) -> Path:
    """The folder of a family's model, as `save_pretrained` writes it."""
    net, processor = FAMILIES[kind]()
    for part in (made_loud(net), processor):
        part.save_pretrained(folder)
    return folder


def photos(count: int, size: tuple[int, int] = (64, 48), seed: int = 0) -> list[Picture]:
    """Noise in memory."""
    pixels = np.random.default_rng(seed).integers(
        0, 256, (count, size[1], size[0], 3), dtype=np.uint8
    )
    return [Picture(Image.fromarray(array)) for array in pixels]


ANSWERS = ("yes", "no", "not here")


def asked(
    word: str, frame: str = "is there a {} in this image ?", answers: tuple[str, ...] = ANSWERS
) -> Cloze:
    """A question about something, with the span "word"."""
    start = frame.index("{}")
    return Cloze(frame.format(word), answers, (("word", start, start + len(word)),))


def sides(count: int = 2) -> tuple[list[Inputs], list[Inputs]]:
    """Inputs in two worlds that differ in photo and text; answers of one and of two tokens."""
    frames = (
        "is there a {} in this image ?",
        "is the {} with a cup here ?",
        "a {} riding a horse . yes ?",
    )
    images = photos(2 * count)
    base, cf = (
        [
            {"image": images[side * count + i], "text": asked(word, frames[i % 3])}
            for i in range(count)
        ]
        for side, word in enumerate(("man", "person"))
    )
    return base, cf
