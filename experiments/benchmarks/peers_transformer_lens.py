"""TransformerLens: its own sweep over a batch of prompts of one length; batched, with last logits only."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
from language_tasks import (
    PLACE,
    Approach,
    Pair,
    Unit,
    Work,
    every_head,
    log_odds,
    neurons,
    some,
)
from peers_hooks import WIDTH, batches
from tokenizers import Tokenizer, models
from torch import Tensor
from transformer_lens import patching
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoTokenizer, GPT2LMHeadModel, PreTrainedTokenizerFast

patching.tqdm = iter  # no progress display
NAME = {"heads": ("z", "attn.hook_z"), "neurons": ("mlp_out", "hook_mlp_out")}


def approaches(net: GPT2LMHeadModel) -> list[Approach]:
    """Those of this file, on a copy of the network."""
    words = Tokenizer(models.WordLevel({"<end>": 0}, "<end>"))
    with TemporaryDirectory() as folder:
        # asked for, and not used: prompts are token ids; it is loaded a second time from its folder
        PreTrainedTokenizerFast(
            tokenizer_object=words, bos_token="<end>", eos_token="<end>", pad_token="<end>"
        ).save_pretrained(folder)
        model = TransformerBridge.boot_transformers(
            "gpt2",
            hf_model=copy.deepcopy(net),
            tokenizer=AutoTokenizer.from_pretrained(folder),
            device="cpu",
        ).eval()
    found = []
    for work in ("heads", "neurons"):
        many = every_head() if work == "heads" else neurons((3,), 192)
        found += [
            Approach(
                "TransformerLens, as documented",
                work,
                partial(_own_sweep, model, work),
                16,
                some(work),
                batched=False,
            ),
            Approach(
                "TransformerLens, batched",
                work,
                partial(_in_rows, model, work),
                4,
                many,
                batched=True,
            ),
        ]
    return found


@torch.inference_mode()
def _own_sweep(model: Any, work: Work, pairs: Sequence[Pair], units: Sequence[Unit]) -> Tensor:
    found = torch.empty(len(pairs), len(units))
    index = pd.DataFrame([(unit.layer, unit.number) for unit in units], columns=["layer", "unit"])
    for length in sorted({len(pair.base) for pair in pairs}):
        rows = [row for row, pair in enumerate(pairs) if len(pair.base) == length]
        base, other = (
            torch.tensor([getattr(pairs[row], side) for row in rows]) for side in ("base", "other")
        )
        _, cache = model.run_with_cache(other)
        result = patching.generic_activation_patch(
            model,
            base,
            cache,
            lambda logits: log_odds(logits[:, -1]),
            patching.layer_head_vector_patch_setter if work == "heads" else _set_neuron,
            NAME[work][0],
            index_df=index,
            reduce="none",
        )
        found[rows] = result.values.T
    return found


def _set_neuron(tensor: Tensor, index: Sequence[int], other: Tensor) -> Tensor:
    tensor[:, PLACE, index[1]] = other[:, PLACE, index[1]]
    return tensor


@torch.inference_mode()
def _in_rows(model: Any, work: Work, pairs: Sequence[Pair], units: Sequence[Unit]) -> Tensor:
    found = torch.empty(len(pairs), len(units))
    for i, pair in enumerate(pairs):
        _, cache = model.run_with_cache(torch.tensor([pair.other]))
        for rows in batches(work, units):
            chosen = [units[row] for row in rows]
            hooks = []
            for layer in sorted({unit.layer for unit in chosen}):
                name = f"blocks.{layer}.{NAME[work][1]}"
                hooks.append((name, partial(_write, work, layer, chosen, cache[name])))
            ids = torch.tensor([pair.base]).repeat(len(rows), 1)
            logits = model.run_with_hooks(ids, fwd_hooks=hooks, logits_to_keep=1)
            found[i, rows] = log_odds(logits[:, -1])
    return found


def _write(
    work: Work, layer: int, units: Sequence[Unit], other: Tensor, tensor: Tensor, hook: Any
) -> Tensor:
    tensor = tensor.clone()
    for row, unit in enumerate(units):
        if unit.layer == layer and work == "heads":
            heads = tensor.reshape(*tensor.shape[:2], -1, WIDTH)
            heads[row, :, unit.number] = other.reshape(*other.shape[:2], -1, WIDTH)[
                0, :, unit.number
            ]
            tensor = heads.reshape(tensor.shape)
        elif unit.layer == layer:
            tensor[row, PLACE, unit.number] = other[0, PLACE, unit.number]
    return tensor
