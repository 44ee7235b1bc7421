"""A model with its processors from the hub or a folder, or why it cannot be had."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoImageProcessor, AutoTokenizer

from vlbias.errors import BadModel
from vlbias.files import hash_of_weights, refuse_without_weights

__all__ = [
    "Pretrained",
    "pickled",
    "pretrained",
    "refuse_broken_pixels",
    "refuse_broken_weights",
    "refuse_other_weights",
    "refuse_placement",
    "refuse_quantised",
]

_UNUSED = {
    r"(^|\.)position_ids$": "the numbers 0, 1, 2 …, which older releases stored",
    r"(^|\.)relative_position_index$": "a table of places, computed anew",
    r"(^|\.)rotary_emb\.inv_freq$": "computed anew from the settings",
    r"(^|\.)(attn|attention)\.(masked_)?bias$": "the causal mask of GPT-2 and GPT-NeoX, no bias",
    r"(^|\.)num_batches_tracked$": "a counter of training",
    r"(^|\.)(predictions|lm_head)\.decoder\.(weight|bias)$": "a copy of the word embeddings and their bias",
    r"(^|\.)seq_relationship\.": "BERT's head for the next sentence, which no adapter asks",
    r"(^|\.)pooler\.": "a summary of the text, which networks without a place for it do not ask",
}
"""Weights that a checkpoint may hold and a network not, with why no number hangs on them."""


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
        BadModel: if the model, its weights or its processors cannot be loaded, or weights are missing,
            left over or no numbers.
    """
    folder = Path(checkpoint)
    try:
        config = AutoConfig.from_pretrained(checkpoint)
        refuse_quantised(checkpoint, config)
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
    refuse_other_weights(checkpoint, info, "fetch the checkpoint again")
    refuse_broken_weights(checkpoint, net)
    settings = (getattr(processor, name, None) for name in ("image_mean", "image_std"))
    refuse_broken_pixels(checkpoint, *settings)
    revision = hash_of_weights(folder) if folder.is_dir() else str(net.config._commit_hash)
    return Pretrained(net.to(device), processor, tokenizer, revision)


def pickled(checkpoint: str) -> BadModel:
    """What to raise where weights are a pickle that holds more than tensors."""
    return BadModel(
        f"{checkpoint!r}: the weights are a pickle that holds more than tensors, or are damaged; loading it "
        "could run code, so it is refused. Give weights as .safetensors"
    )


def refuse_other_weights(checkpoint: str, info: Mapping[str, Any], advice: str) -> None:
    """Nothing, if a network took every weight of a checkpoint, and has no other.

    Args:
        checkpoint: Where the weights are from, for messages.
        info: What `from_pretrained` says of loading.
        advice: What to do where weights are missing.

    Raises:
        BadModel: if weights were missing or left over; says which.
    """
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise BadModel(
            f"{checkpoint!r}: {len(missing)} weights are missing and would be random: {missing[:5]} …; "
            f"{advice}"
        )
    surplus = sorted(
        key
        for key in info["unexpected_keys"]
        if not any(re.search(pattern, key) for pattern in _UNUSED)
    )
    if surplus:
        raise BadModel(
            f"{checkpoint!r}: {len(surplus)} weights have no place in the network that config.json describes, "
            f"and would be left out: {surplus[:5]} …; the settings are of another model (fewer layers, for "
            "example), or the weights are: fetch both again"
        )


def refuse_broken_weights(checkpoint: str, net: nn.Module) -> None:
    """Nothing, if every weight of a network is a finite number.

    Raises:
        BadModel: names the first that is not.
    """
    for name, weight in net.named_parameters():
        if weight.numel() and not all(end.isfinite() for end in weight.detach().aminmax()):
            raise BadModel(
                f"{checkpoint!r}: the weight {name!r} holds NaN or infinite numbers, so that every score "
                "would be NaN; fetch the checkpoint again, or train it with a smaller step"
            )


def refuse_broken_pixels(checkpoint: str, mean: Any, std: Any) -> None:
    """Nothing, if pixels can be normalised by a mean and a standard deviation of each colour.

    Raises:
        BadModel: says what cannot be.
    """
    for name, values in (("image_mean", mean), ("image_std", std)):
        if values is None:
            continue
        numbers = np.atleast_1d(np.asarray(values, dtype=np.float64))
        if not np.isfinite(numbers).all() or (name == "image_std" and (numbers <= 0).any()):
            raise BadModel(
                f"{checkpoint!r}: {name} = {values}: expected finite numbers"
                f"{', above 0' if name == 'image_std' else ''}; pixels are divided by it. Mend the settings "
                "of the image processor"
            )


def refuse_quantised(checkpoint: str, config: Any) -> None:
    """Nothing, if weights are kept as numbers of 16 bits or more.

    Args:
        checkpoint: Where they are from, for messages.
        config: Of transformers.

    Raises:
        BadModel: if its weights are of 8 or 4 bits.
    """
    settings = getattr(config, "quantization_config", None)
    if settings is None:
        return
    given = settings if isinstance(settings, Mapping) else vars(settings)
    raise _quantised(checkpoint, str(given.get("quant_method", "unknown")))


def refuse_placement(name: str, net: Any) -> None:
    """Nothing, if a network lies on one device with weights of 16 bits or more.

    Args:
        name: Of the model.
        net: Of transformers.

    Raises:
        BadModel: if it was spread by `device_map`, or its weights are of 8 or 4 bits.
    """
    if getattr(net, "is_quantized", False):
        method = getattr(getattr(net, "config", None), "quantization_config", None)
        raise _quantised(name, type(method).__name__)
    places = {str(place) for place in (getattr(net, "hf_device_map", None) or {}).values()}
    if len(places) > 1 or "disk" in places:
        raise BadModel(
            f"{name}: its parts are spread over {', '.join(sorted(places))} (device_map): values of two worlds "
            "would lie on different devices when they are exchanged. Load it onto one device, in bfloat16 if "
            "it is large: vlbias.load_model(name, device='cuda', dtype='bfloat16')"
        )


def _quantised(name: str, method: str) -> BadModel:
    return BadModel(
        f"{name!r}: its weights are quantised ({method}). Some kernels of 8 bits pick channels by all rows of "
        "a batch, so that a row would depend on its neighbours, and for others no exactness is known. Give the "
        "weights as they were trained, or write them out: net.dequantize().save_pretrained(folder)"
    )
