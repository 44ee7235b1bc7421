"""pyvene as its tutorials teach it, and with rows of a batch and logits of the last token only."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import pyvene
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
from torch import Tensor
from transformers import GPT2LMHeadModel

COMPONENT = {"heads": ("head_attention_value_output", "h"), "neurons": ("mlp_output", "pos")}


def approaches(net: GPT2LMHeadModel) -> list[Approach]:
    """Those of this file, on a copy of the network."""
    mine = copy.deepcopy(net)
    found = []
    for work in ("heads", "neurons"):
        models = {layer: _wrapped(mine, work, layer) for layer in range(12)}
        one, rows = partial(_one_by_one, models, work), partial(_in_rows, models, work)
        many = every_head() if work == "heads" else neurons((3,), 192)
        found += [
            Approach("pyvene, as documented", work, one, 4, some(work), batched=False),
            Approach("pyvene, batched", work, rows, 4, many, batched=True),
        ]
    return found


def _wrapped(net: GPT2LMHeadModel, work: Work, layer: int) -> Any:
    component, unit = COMPONENT[work]
    where = pyvene.RepresentationConfig(layer, component, unit, max_number_of_units=1)
    config = pyvene.IntervenableConfig([where], pyvene.VanillaIntervention)
    return pyvene.IntervenableModel(config, model=net)


@torch.inference_mode()
def _one_by_one(
    models: dict[int, Any], work: Work, pairs: Sequence[Pair], units: Sequence[Unit]
) -> Tensor:
    found = torch.empty(len(pairs), len(units))
    for i, pair in enumerate(pairs):
        base, other = ({"input_ids": torch.tensor([ids])} for ids in (pair.base, pair.other))
        for j, unit in enumerate(units):
            place = [[[unit.number if work == "heads" else PLACE]]]
            _, given = models[unit.layer](
                base,
                [other],
                {"sources->base": (place, place)},
                subspaces=None if work == "heads" else [[[unit.number]]],
            )
            found[i, j] = log_odds(given.logits[0, -1])
    return found


@torch.inference_mode()
def _in_rows(
    models: dict[int, Any], work: Work, pairs: Sequence[Pair], units: Sequence[Unit]
) -> Tensor:
    found = torch.empty(len(pairs), len(units))
    for i, pair in enumerate(pairs):
        for layer in sorted({unit.layer for unit in units}):
            rows = [row for row, unit in enumerate(units) if unit.layer == layer]
            numbers = [units[row].number for row in rows]
            base, other = (
                {"input_ids": torch.tensor([ids]).repeat(len(rows), 1), "logits_to_keep": 1}
                for ids in (pair.base, pair.other)
            )
            place = [[[n] for n in numbers] if work == "heads" else [[PLACE]] * len(rows)]
            spaces = None
            if work == "neurons":
                # lists of one length are taken for one list for all rows: the first one is longer
                spaces = [[[numbers[0], numbers[0]], *([n] for n in numbers[1:])]]
            _, given = models[layer](
                base, [other], {"sources->base": (place, place)}, subspaces=spaces
            )
            found[i, rows] = log_odds(given.logits[:, -1])
    return found
