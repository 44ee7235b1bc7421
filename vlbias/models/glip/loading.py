"""A GLIP from a published checkpoint, from the hub, or from a folder that `vlbias convert` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from safetensors import SafetensorError
from transformers import AutoTokenizer, BertTokenizerFast

from vlbias.errors import BadModel
from vlbias.files import hash_of_file, hash_of_weights, refuse_without_weights
from vlbias.models.glip.adapter import Glip
from vlbias.models.glip.checkpoint import filled, read_weights, shape_of
from vlbias.models.glip.network import GlipNet
from vlbias.models.glip.published import HUB, PUBLISHED
from vlbias.models.glip.shape import GlipConfig
from vlbias.models.pretrained import (
    refuse_broken_pixels,
    refuse_broken_weights,
    refuse_other_weights,
)

__all__ = ["convert", "load"]

WORDS = "google-bert/bert-base-uncased"
"""Where the tokenizer is from, unless it lies beside the weights."""


def load(
    checkpoint: str,
    *,
    name: str,
    device: str = "cpu",
    dtype: str = "float32",
    weights: bool = True,
) -> Glip:
    """A GLIP of a published checkpoint (.pth), of the name of one, or of a folder.

    The tokenizer is read from the folder of the weights, or else from the hub.

    Args:
        checkpoint: Path of a .pth file, folder, or key of `PUBLISHED`.
        name: Short name for tables.
        device: "cpu", "cuda", "cuda:1" …
        dtype: "float32" or "bfloat16"; bfloat16 wipes out small effects.
        weights: Whether to load them; without them the model has its shape only (an outline).

    Raises:
        BadModel: if the model, its weights or its tokenizer cannot be loaded, or weights are missing,
            left over or no numbers.
    """
    if not weights:
        with torch.device("meta"):
            return Glip(GlipNet(_outlined(checkpoint)), None, name=name, revision="outline")
    path = _fetched(checkpoint)
    words = _tokenizer(path if path.is_dir() else path.parent)
    net = _from_folder(path) if path.is_dir() else _from_file(path)
    refuse_broken_weights(checkpoint, net)
    refuse_broken_pixels(checkpoint, net.config.image_mean, net.config.image_std)
    revision = hash_of_weights(path) if path.is_dir() else hash_of_file(path)
    net = net.to(device=device, dtype=getattr(torch, dtype))
    return Glip(net, words, name=name, revision=revision)


def convert(checkpoint: str, folder: Path, tokenizer: str | None = None) -> None:
    """Write a published checkpoint as a folder of settings, safetensors and tokenizer.

    Args:
        checkpoint: Path of a .pth file or key of `PUBLISHED`.
        folder: Where to; must be empty or not there.
        tokenizer: Folder or hub name of uncased BERT's tokenizer; if not given, as of `load`.

    Raises:
        BadModel: if the checkpoint or tokenizer cannot be loaded, or the folder is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadModel(f"{folder} is not empty; convert into a new folder")
    path = _fetched(checkpoint)
    if path.is_dir():
        raise BadModel(f"{checkpoint!r} is a folder; only .pth files are converted")
    words = _tokenizer(path.parent) if tokenizer is None else _tokenizer(tokenizer)
    net = _from_file(path)
    refuse_broken_weights(checkpoint, net)
    # a tokenizer of another vocabulary is refused here, not when the folder is used
    Glip(net, words, name=folder.name, revision="")
    net.save_pretrained(folder)
    words.save_pretrained(folder)


def _outlined(checkpoint: str) -> GlipConfig:
    if checkpoint in PUBLISHED:
        return GlipConfig(**PUBLISHED[checkpoint].shape)
    path = Path(checkpoint)
    if path.is_dir():
        return _config(path)
    return shape_of(read_weights(path), checkpoint)


def _config(folder: Path) -> GlipConfig:
    config: Any = GlipConfig.from_pretrained(folder)
    return config  # type: ignore[no-any-return]


def _fetched(checkpoint: str) -> Path:
    if checkpoint not in PUBLISHED:
        return Path(checkpoint)
    file = PUBLISHED[checkpoint].file
    try:
        return Path(hf_hub_download(HUB, file))
    except (OSError, ValueError) as error:
        raise BadModel(
            f"{file} cannot be had from {HUB} on the hub: {_first_line(error)}. Fetch it yourself and give its "
            "path, with tokenizer.json or vocab.txt of uncased BERT in the same folder"
        ) from error


def _from_file(path: Path) -> GlipNet:
    weights = read_weights(path)
    return filled(GlipNet(shape_of(weights, str(path))), weights, str(path))


def _from_folder(folder: Path) -> GlipNet:
    refuse_without_weights(folder)
    try:
        net, info = GlipNet.from_pretrained(folder, output_loading_info=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise BadModel(
            f"{str(folder)!r} cannot be loaded: {error}. Give a folder that vlbias convert wrote"
        ) from error
    refuse_other_weights(str(folder), info, "convert the checkpoint again")
    return net  # type: ignore[no-any-return]


def _tokenizer(where: Path | str) -> Any:
    """The tokenizer in a folder, or of a hub name; of a folder that has none, that of the hub."""
    folder = Path(where)
    there = any((folder / file).is_file() for file in ("tokenizer.json", "vocab.txt"))
    source = str(folder) if there else WORDS if isinstance(where, Path) else where
    try:
        # of a hub name that cannot be reached, the class itself makes a tokenizer without words
        kind = BertTokenizerFast if there else AutoTokenizer
        return kind.from_pretrained(source, padding_side="right")
    except (OSError, ValueError) as error:
        raise BadModel(
            f"the tokenizer of uncased BERT cannot be had from {source!r}: {_first_line(error)}. Put its "
            "tokenizer.json or vocab.txt beside the weights, or give a folder that has it"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
