"""Tiny towers, drawn pictures and the modules of the reference model, for its two test files."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from PIL import Image
from transformers import BertConfig, BertModel, BertTokenizer, Dinov2Config, Dinov2Model

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"
# a package made by hand: with experiments/ on sys.path its scripts could hide libraries
_package = ModuleType("reference")
_package.__path__ = [str(EXPERIMENTS / "reference")]  # type: ignore[assignment]
sys.modules.setdefault("reference", _package)
bank = import_module("reference.bank")
card = import_module("reference.card")
dual = import_module("reference.dual")
finished = import_module("reference.finished")
losses = import_module("reference.losses")
measure = import_module("reference.measure")
photos = import_module("reference.photos")
prompts = import_module("reference.prompts")
sources = import_module("reference.sources")
train = import_module("reference.train")
views = import_module("reference.views")

WORDS = "a an photo of man woman person with dog cat apple red green big small on"
COLOURS = {1: "red", 2: "green", 3: "blue"}


def tiny_vision(image_size: int = 8, seed: int = 0) -> Dinov2Model:
    torch.manual_seed(seed)
    config = Dinov2Config(
        hidden_size=12,
        num_hidden_layers=3,
        num_attention_heads=3,
        patch_size=2,
        image_size=image_size,
        mlp_ratio=2,
    )
    model = Dinov2Model(config).eval()
    with torch.no_grad():  # biases and scales of a fresh model are constants: nothing to mix up
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
        model.embeddings.mask_token.zero_()
    return model


def tiny_text() -> tuple[BertModel, BertTokenizer]:
    torch.manual_seed(1)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split()]
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
    )
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(vocabulary)})
    return BertModel(config).eval(), tokenizer


def draw_photos(root: Path) -> Path:
    """Fifteen pictures in COCO layout: a rectangle per object, genders in the captions."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir()
    images, boxes, captions = [], [], []
    for i in range(1, 16):
        picture = Image.new("RGB", (80, 60), "white")
        for kind in {1, 1 + i % 3}:
            x, y = (int(v) for v in rng.integers(0, 30, 2))
            picture.paste(COLOURS[kind], (x, y, x + 24, y + 24))
            boxes.append({"image_id": i, "category_id": kind, "bbox": [x, y, 24, 24]})
        picture.save(root / "images" / f"{i}.jpg")
        images.append({"id": i, "file_name": f"{i}.jpg"})
        person = ["man", "woman", "person"][i % 3]
        texts = (f"a {person} with a dog", f"a big {person}")
        captions += [
            {"image_id": i, "id": 2 * i + j, "caption": text} for j, text in enumerate(texts)
        ]
    names = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "apple"}]
    tables = {
        "instances": {"images": images, "annotations": boxes, "categories": names},
        "captions": {"annotations": captions},
    }
    for name, table in tables.items():
        (root / f"{name}.json").write_text(json.dumps(table))
    return root
