"""nnsight as its documentation teaches it, a trace for each mediator; batched, with last logits only."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from language_tasks import (
    Approach,
    Pair,
    Unit,
    Work,
    every_head,
    log_odds,
    neurons,
    some,
)
from nnsight import NNsight
from peers_hooks import batches, kept, part, write_rows
from torch import Tensor
from transformers import GPT2LMHeadModel


def approaches(net: GPT2LMHeadModel) -> list[Approach]:
    """Those of this file, on a copy of the network."""
    mine = copy.deepcopy(net)
    model = NNsight(mine)
    found = []
    for work in ("heads", "neurons"):
        one, rows = partial(_one_by_one, model, mine, work), partial(_in_rows, model, mine, work)
        many = every_head() if work == "heads" else neurons((3,), 192)
        found += [
            Approach("nnsight, as documented", work, one, 4, some(work), batched=False),
            Approach("nnsight, batched", work, rows, 4, many, batched=True),
        ]
    return found


@torch.inference_mode()
def _one_by_one(
    model: Any, net: GPT2LMHeadModel, work: Work, pairs: Sequence[Pair], units: Sequence[Unit]
) -> Tensor:
    found = torch.empty(len(pairs), len(units))
    for i, pair in enumerate(pairs):
        values, base = kept(net, work, pair), torch.tensor([pair.base])
        for j, unit in enumerate(units):
            tokens, channels = part(work, unit)
            value = values[unit.layer][:, tokens, channels]
            if work == "heads":
                with model.trace(base, use_cache=False):
                    model.transformer.h[unit.layer].attn.c_proj.input[:, tokens, channels] = value
                    logits = model.lm_head.output.save()
            else:
                with model.trace(base, use_cache=False):
                    model.transformer.h[unit.layer].mlp.output[:, tokens, channels] = value
                    logits = model.lm_head.output.save()
            found[i, j] = log_odds(logits[0, -1])
    return found


@torch.inference_mode()
def _in_rows(
    model: Any, net: GPT2LMHeadModel, work: Work, pairs: Sequence[Pair], units: Sequence[Unit]
) -> Tensor:
    found = torch.empty(len(pairs), len(units))
    for i, pair in enumerate(pairs):
        values = kept(net, work, pair)
        for rows in batches(work, units):
            chosen = [units[row] for row in rows]
            ids = torch.tensor([pair.base]).repeat(len(rows), 1)
            layers = sorted({unit.layer for unit in chosen})
            if work == "heads":
                with model.trace(ids, use_cache=False, logits_to_keep=1):
                    for layer in layers:
                        module = model.transformer.h[layer].attn.c_proj
                        module.input = write_rows(work, layer, chosen, values[layer], module.input)
                    logits = model.lm_head.output.save()
            else:
                layer = layers[0]
                with model.trace(ids, use_cache=False, logits_to_keep=1):
                    module = model.transformer.h[layer].mlp
                    module.output = write_rows(work, layer, chosen, values[layer], module.output)
                    logits = model.lm_head.output.save()
            found[i, rows] = log_odds(logits[:, -1])
    return found
