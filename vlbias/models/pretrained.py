"""A model with its processors from the hub or a folder, or why it cannot be had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

from vlbias.errors import BadModel
from vlbias.files import hash_of_weights, refuse_without_weights

__all__ = ["Pretrained", "pickled", "pretrained", "refuse_random_weights"]


@dataclass(frozen=True)
class Pretrained:
    """What an adapter wraps; an outline has no processors.

    Args:
        net: The model, on its device.
        image_processor: Makes pixels.
        tokenizer: Pads on the right.
        revision: Hash of a folder's weights, commit of a hub model, or "outline".
    """

    net: Any
    image_processor: Any
    tokenizer: Any
    revision: str


def pretrained(
    maker: Any,
    checkpoint: str,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    weights: bool = True,
    **options: Any,
) -> Pretrained:
    """A model of images and texts from the hub or from a folder that `save_pretrained` wrote.

    Args:
        maker: The auto class of its kind, such as AutoModel.
        checkpoint: Hub name or folder.
        device: "cpu", "cuda", "cuda:1" …
        dtype: "float32" or "bfloat16"; bfloat16 wipes out small effects.
        weights: Whether to load them; without them the model has its shape only (an outline).
        options: Passed on to `from_pretrained`.

    Raises:
        BadModel: if the model, its weights or its processors cannot be loaded, or weights are missing.
    """
    folder = Path(checkpoint)
    try:
        config = AutoConfig.from_pretrained(checkpoint)
        if folder.is_dir():
            refuse_without_weights(folder)
        if not weights:
            with torch.device("meta"):
                return Pretrained(maker.from_config(config), None, None, "outline")
        net, info = maker.from_pretrained(
            checkpoint, dtype=getattr(torch, dtype), output_loading_info=True, **options
        )
        processor = AutoImageProcessor.from_pretrained(checkpoint)
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, padding_side="right")
    except UnpicklingError as error:
        raise pickled(checkpoint) from error
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise BadModel(
            f"{checkpoint!r} cannot be loaded: {error}. Give a folder that save_pretrained wrote, with "
            "image processor and tokenizer, or a hub name while online."
        ) from error
    refuse_random_weights(checkpoint, info, "fetch the checkpoint again")
    revision = hash_of_weights(folder) if folder.is_dir() else str(net.config._commit_hash)
    return Pretrained(net.to(device), processor, tokenizer, revision)


def pickled(checkpoint: str) -> BadModel:
    """What to raise where weights are a pickle that holds more than tensors."""
    return BadModel(
        f"{checkpoint!r}: the weights are a pickle that holds more than tensors, or are damaged; loading it "
        "could run code, so it is refused. Give weights as .safetensors"
    )


def refuse_random_weights(checkpoint: str, info: Mapping[str, Any], advice: str) -> None:
    """Nothing, if every weight of a model was loaded.

    Raises:
        BadModel: if some were missing, with what to do.
    """
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise BadModel(
            f"{checkpoint!r}: {len(missing)} weights are missing and would be random: {missing[:5]} …; "
            f"{advice}"
        )
