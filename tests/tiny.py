"""Minuscule random models with real tokenizers and image processors, made loud, and a tiny photo set.

Random weights are for wiring: they show that the engine computes what it says, nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data_layouts import write_photo
from PIL import Image
from torch import nn

from vlbias.causal.example import Inputs, Picture

WORDS = [
    "a",
    "an",
    "the",
    "photo",
    "picture",
    "image",
    "of",
    "man",
    "woman",
    "person",
    "people",
    "with",
    "and",
    "bicycle",
    "umbrella",
    "dog",
    "cup",
    "horse",
    "riding",
    "holding",
    "his",
    "her",
    "their",
    "near",
    "big",
    "very",
    "on",
    "street",
    "road",
    ".",
    ",",
]
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


def bert_tokenizer() -> Any:
    from transformers import BertTokenizerFast

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    return BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)})


def _pieces(words: list[list[str]], from_end: bool) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte-pair vocabulary and merges in which every word is one piece.

    Merges grow from the end that carries the word's mark, so that no two words' merges interfere.
    """
    alphabet = {piece for word in words for piece in word}
    merges: list[tuple[str, str]] = []
    for word in words:
        parts = list(word)
        while len(parts) > 1:
            pair = (parts[-2], parts[-1]) if from_end else (parts[0], parts[1])
            parts = [*parts[:-2], "".join(pair)] if from_end else ["".join(pair), *parts[2:]]
            merges.append(pair)
            alphabet.add("".join(pair))
    return {piece: i for i, piece in enumerate(sorted(alphabet))}, list(dict.fromkeys(merges))


def clip_tokenizer(more: tuple[str, ...] = ()) -> Any:
    from transformers import CLIPTokenizer

    words = [*WORDS, *more]
    vocabulary, merges = _pieces([[*word[:-1], word[-1] + "</w>"] for word in words], True)
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    return CLIPTokenizer(vocab=vocabulary, merges=merges)


def roberta_tokenizer() -> Any:
    from transformers import RobertaTokenizerFast

    pieces, merges = _pieces([["Ġ", *word] for word in WORDS], False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocabulary = {piece: i for i, piece in enumerate([*special, *pieces])}
    return RobertaTokenizerFast(vocab=vocabulary, merges=merges, add_prefix_space=True)


def siglip2_tokenizer() -> Any:
    from transformers import Siglip2Tokenizer

    pieces, merges = _pieces([["▁", *word] for word in WORDS], False)
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    vocabulary = {piece: i for i, piece in enumerate([*special, *pieces])}
    return Siglip2Tokenizer(vocab=vocabulary, merges=merges)


def word_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>", eos_token="</s>"
    )


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


def pictures(n: int, seed: int = 0, size: tuple[int, int] = (40, 30)) -> list[Picture]:
    """Images of noise in memory."""
    pixels = np.random.default_rng(seed).integers(0, 256, (n, size[1], size[0], 3), dtype=np.uint8)
    return [Picture(Image.fromarray(array)) for array in pixels]


TEXTS = (
    ("a photo of a man with a dog", "a photo of a person with a dog"),
    ("a woman riding a horse", "a person riding a horse"),
    ("a man with his umbrella on the street", "a person with their umbrella on the street"),
)


def sides(n: int = 2, seed: int = 0) -> tuple[list[Inputs], list[Inputs]]:
    """Inputs of a few examples in two worlds in which image and text both differ, aligned."""
    images = pictures(2 * n, seed)
    return (
        [{"image": images[i], "text": TEXTS[i % 3][0]} for i in range(n)],
        [{"image": images[n + i], "text": TEXTS[i % 3][1]} for i in range(n)],
    )


CLASSES = ("person", "bicycle", "umbrella")


def write_photos(root: Path, count: int = 24, splits: int = 2) -> Path:
    """A COCO layout with half masculine, half feminine photos, in test, dev and, of three splits, fit."""
    images, boxes, captions = [], [], []
    for i in range(count):
        number = 10 + 5 * (i // splits) + i % splits
        who = ("man", "woman")[i // splits % 2]
        name = f"{number:012d}.jpg"
        images.append({"id": number, "file_name": name, "width": 64, "height": 48, "license": 4})
        things = [(1, [4, 4, 12, 30])] + [
            (k, [40, 10, 10, 10]) for k in (2, 3) if (i // (2 * k)) % 2
        ]
        for category, box in things:
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": number,
                    "category_id": category,
                    "bbox": box,
                    "area": 100.0,
                    "iscrowd": 0,
                }
            )
        story = [f"A {who} near a bicycle.", f"A {who} on a street", f"a {who}", "a street", "a"]
        captions += [
            {"id": 100 * number + k, "image_id": number, "caption": text}
            for k, text in enumerate(story)
        ]
        write_photo(root / "images" / name, (64, 48), number)
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, 1)]
    licenses = [{"id": 4, "name": "Attribution License"}]
    instances = {
        "images": images,
        "annotations": boxes,
        "categories": categories,
        "licenses": licenses,
    }
    (root / "instances.json").write_text(json.dumps(instances))
    (root / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
    return root


STUDY = """
name = "tiny"
model = "{model}"
contrasts = ["null->mask-gender", "null->replace-gender", "null->both", "null->placebo-image",
             "null->null"]
mediators = ["image_encoder", "text_encoder", "image_encoder/head.*[*]", "text_encoder/mlp.*"]
min_group = 2
shard_size = 4
mediator_batch = 32

[dataset]
name = "coco"
path = "{photos}"
splits = ["dev", "test"]

[operating_point]
min_negatives = 1
min_events = 0
"""


def write_study(path: Path, model: Path, photos: Path, **changes: str) -> Path:
    """A study file on the tiny photos; `changes` replace text in it, old = new."""
    text = STUDY.format(model=model, photos=photos)
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
