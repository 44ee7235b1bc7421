"""Generative image-text models from the hub or from a folder."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from vlbias.errors import BadModel
from vlbias.files import hash_of_weights, refuse_without_weights
from vlbias.models.image_text.adapter import ImageText, refuse_family
from vlbias.models.pretrained import (
    pickled,
    refuse_broken_pixels,
    refuse_broken_weights,
    refuse_other_weights,
    refuse_quantised,
)

__all__ = ["load"]


def load(
    checkpoint: str,
    *,
    name: str,
    device: str = "cpu",
    dtype: str = "float32",
    weights: bool = True,
) -> ImageText:
    """A generative image-text model from the hub or from a folder that `save_pretrained` wrote.

    Args:
        checkpoint: Hub name or folder.
        name: Short name for tables.
        device: "cpu", "cuda", "cuda:1" …
        dtype: "float32" or "bfloat16"; bfloat16 wipes out small effects.
        weights: Whether to load them; without them the model has its shape only (an outline).

    Raises:
        BadModel: if the model, its weights or its processor cannot be loaded, its family cannot be taken,
            or weights are missing, left over or no numbers.
    """
    folder = Path(checkpoint)
    try:
        config = AutoConfig.from_pretrained(checkpoint)
        refuse_family(name, config.model_type)
        refuse_quantised(checkpoint, config)
        if folder.is_dir():
            refuse_without_weights(folder)
            _refuse_without_processor(folder)
        if not weights:
            with torch.device("meta"):
                outline = AutoModelForImageTextToText.from_config(config)
            return ImageText(outline, None, name=name, revision="outline")
        processor = _processor(checkpoint)
        net, info = AutoModelForImageTextToText.from_pretrained(
            checkpoint, dtype=getattr(torch, dtype), output_loading_info=True
        )
    except UnpicklingError as error:
        raise pickled(checkpoint) from error
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise BadModel(
            f"{checkpoint!r} cannot be loaded: {error}. Give a folder that save_pretrained wrote, with its "
            "processor, or a hub name while online; a gated model asks for `hf auth login` once"
        ) from error
    refuse_other_weights(checkpoint, info, "fetch the checkpoint again")
    refuse_broken_weights(checkpoint, net)
    pixels = processor.image_processor
    refuse_broken_pixels(
        checkpoint, *(getattr(pixels, key, None) for key in ("image_mean", "image_std"))
    )
    revision = hash_of_weights(folder) if folder.is_dir() else str(net.config._commit_hash)
    return ImageText(net.to(device), processor, name=name, revision=revision)


def _processor(checkpoint: str) -> Any:
    """The processor of a checkpoint.

    Raises:
        BadModel: if there is none that has both a tokenizer and an image processor.
    """
    try:
        processor = AutoProcessor.from_pretrained(checkpoint)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadModel(
            f"{checkpoint!r}: its processor cannot be loaded ({error}). A folder needs what "
            "`processor.save_pretrained(folder)` writes: processor_config.json, tokenizer.json and the "
            "settings of the image processor"
        ) from error
    lacking = [
        part for part in ("tokenizer", "image_processor") if getattr(processor, part, None) is None
    ]
    if lacking:
        raise BadModel(
            f"{checkpoint!r}: its processor has no {' and no '.join(lacking)}: write it into the folder with "
            "`processor.save_pretrained(folder)`"
        )
    return processor


def _refuse_without_processor(folder: Path) -> None:
    """Nothing, for a folder with the settings of an image processor, or of a whole processor."""
    names = ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json")
    if not any((folder / name).is_file() for name in names):
        raise BadModel(
            f"{folder}: no processor is there ({' or '.join(names[:2])}), which turns photos into pixels: "
            "write it into the folder with `processor.save_pretrained(folder)`"
        )
