"""Tiny encoders and the modules of the reference detector, for its test files."""

from __future__ import annotations

from importlib import import_module

import reference_parts  # noqa: F401  (makes the package `reference`)
import torch
from transformers import BertConfig, BertModel, Dinov2Config, Dinov2Model

detector = import_module("reference.detector")
detector_bank = import_module("reference.detector_bank")
detector_evaluate = import_module("reference.detector_evaluate")
detector_loss = import_module("reference.detector_loss")
detector_start = import_module("reference.detector_start")
detector_train = import_module("reference.detector_train")

NAMES = ("person", "dog", "cup")


def tiny_encoders() -> tuple[Dinov2Model, BertModel]:
    torch.manual_seed(0)
    vision = Dinov2Config(
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        patch_size=7,
        image_size=28,
        mlp_ratio=2,
    )
    text = BertConfig(
        vocab_size=1030,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
    )
    return Dinov2Model(vision).eval(), BertModel(text).eval()
