"""Language models from the hub, from a folder, or from a GGUF file."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from vlbias.errors import BadModel, MissingExtra
from vlbias.files import hash_of_weights
from vlbias.models.language.adapter import LanguageModel
from vlbias.models.language.fact_net import register_fact_nets
from vlbias.models.language.layouts import layout_of
from vlbias.models.language.rule_net import register_rule_nets
from vlbias.models.pretrained import (
    pickled,
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
    random: int | None = None,
    tokenizer: bool = False,
) -> LanguageModel:
    """A language model from the hub, from a folder that `save_pretrained` wrote, or from a GGUF file.

    Args:
        checkpoint: Hub name, folder, or file ending in ".gguf".
        name: Short name for tables.
        device: "cpu", "cuda", "cuda:1" …
        dtype: "float32" or "bfloat16"; bfloat16 wipes out the effects of single neurons.
        weights: Whether to load them; without them the model has its shape only (an outline).
        random: Seed of random weights in place of the trained ones: the baseline of Vig et al.
        tokenizer: Whether an outline has its tokenizer; with weights there always is one.

    Raises:
        BadModel: if the model, its weights or its tokenizer cannot be loaded, or weights are missing,
            left over or no numbers.
        MissingExtra: if a GGUF file is given and gguf or accelerate is not installed.
    """
    path = Path(checkpoint)
    where: dict[str, Any] = {"pretrained_model_name_or_path": checkpoint}
    if path.suffix == ".gguf":
        _refuse_without_gguf()
        where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    register_rule_nets()
    register_fact_nets()
    try:
        config = AutoConfig.from_pretrained(**where)
        if path.suffix != ".gguf":  # its weights are widened when they are read
            refuse_quantised(checkpoint, config)
        maker = (
            AutoModelForMaskedLM if layout_of(config.model_type).masked else AutoModelForCausalLM
        )
        if not weights:
            with torch.device("meta"):
                net = maker.from_config(config)
            words = AutoTokenizer.from_pretrained(**where) if tokenizer else None
            return LanguageModel(net, words, name=name, revision="outline")
        words = AutoTokenizer.from_pretrained(**where)
        if random is not None:
            torch.manual_seed(random)
            net = maker.from_config(config, dtype=getattr(torch, dtype)).to(device)
            short = f"{name}-random{random}"
            return LanguageModel(net, words, name=short, revision=f"random:{random}")
        net, info = maker.from_pretrained(
            **where,
            dtype=getattr(torch, dtype),
            attn_implementation="eager",
            output_loading_info=True,
        )
    except UnpicklingError as error:
        raise pickled(checkpoint) from error
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise BadModel(
            f"{checkpoint!r} cannot be loaded: {error}. Give a folder that save_pretrained wrote, with its "
            "tokenizer, a GGUF file, or a hub name while online."
        ) from error
    refuse_other_weights(checkpoint, info, "give a model with its language-model head")
    refuse_broken_weights(checkpoint, net)
    revision = hash_of_weights(path) if path.exists() else str(net.config._commit_hash)
    return LanguageModel(net.to(device), words, name=name, revision=revision)


def _refuse_without_gguf() -> None:
    from importlib.util import find_spec

    for library in ("gguf", "accelerate"):
        if find_spec(library) is None:
            raise MissingExtra("gguf", library)
