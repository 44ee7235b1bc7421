"""Slopes of a model's scores along what masking does to the output of each encoder."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map

from vlbias.causal.example import channel_key
from vlbias.causal.hooks import replaced_output
from vlbias.causal.staged_model import Batch, Encoded, StagedModel
from vlbias.studies.planted.plants import ENCODERS, MASKED

__all__ = ["first_order"]

_STEP = 1e-2

Scores = NDArray[np.floating[Any]]


@torch.inference_mode()
def first_order(model: StagedModel, examples: Sequence[Any], batch: int = 64) -> Scores:
    """Slopes of the class scores along what masking does to the output of each of `ENCODERS`.

    Central differences, since a readout need not be differentiable: the stage of the encoder gives a
    value a little to either side of the base world's, and all behind it runs.

    Args:
        model: With a stage for each encoder.
        examples: In both worlds of `MASKED`, whose tokens line up.
        batch: Examples at a time.

    Returns:
        [encoders, examples, classes].
    """
    parts = []
    for start in range(0, len(examples), batch):
        batches, index = _paired(model, examples[start : start + batch])
        given = _given(model, batches)
        base = {
            tower: {key: value[: len(value) // 2] for key, value in both.items()}
            for tower, both in batches.items()
        }
        slopes = []
        for encoder, output in given.items():
            below, above = (
                _scores(model, base, index, encoder, _moved(output, step))
                for step in (-_STEP, _STEP)
            )
            slopes.append((above - below) / (2 * _STEP))
        parts.append(torch.stack(slopes).numpy())
    return np.concatenate(parts, axis=1)


def _paired(
    model: StagedModel, examples: Sequence[Any]
) -> tuple[dict[str, Batch], dict[str, Tensor]]:
    """Of each tower the distinct rows of the base world, then what masking makes of each of them.

    The index tells which of them each example uses.
    """
    base, _, other = MASKED.partition("->")
    batches, index = {}, {}
    for tower in (one.name for one in model.towers):
        pairs: dict[Hashable, tuple[Any, Any]] = {}
        used = []
        for example in examples:
            sides = (model.split(example.worlds[world])[tower] for world in (base, other))
            own = [(channel_key(pair), pair) for pair in zip(*sides, strict=True)]
            pairs |= dict(own)
            used.append([key for key, _ in own])
        place = {key: number for number, key in enumerate(pairs)}
        rows = [row for side in zip(*pairs.values(), strict=True) for row in side]
        batches[tower] = model.collate(tower, rows)
        index[tower] = torch.tensor([[place[key] for key in keys] for keys in used])
    return batches, index


def _given(model: StagedModel, batches: Mapping[str, Batch]) -> dict[str, Encoded]:
    """What the stage of each of `ENCODERS` gives."""
    modules = {stage.name: stage.module for tower in model.towers for stage in tower.stages}
    given: dict[str, Encoded] = {}
    with ExitStack() as hooks:
        for encoder in ENCODERS:
            module = model.net.get_submodule(modules[encoder])
            keep = partial(given.__setitem__, encoder)
            hooks.callback(
                module.register_forward_hook(lambda _, __, out, keep=keep: keep(out)).remove
            )
        for tower, batch in batches.items():
            model.encode(tower, batch)
    return {encoder: given[encoder] for encoder in ENCODERS}


def _moved(output: Encoded, step: float) -> Encoded:
    """Of rows of the base world and as many of the other the former, moved towards the latter."""

    def moved(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        base, other = leaf.chunk(2)
        return base + step * (other - base) if leaf.is_floating_point() else base.clone()

    return tree_map(moved, output)


def _scores(
    model: StagedModel,
    batches: Mapping[str, Batch],
    index: Mapping[str, Tensor],
    encoder: str,
    output: Encoded,
) -> Tensor:
    """Class scores where the stage of an encoder gives `output`."""
    module = next(s.module for tower in model.towers for s in tower.stages if s.name == encoder)
    with replaced_output(model.net.get_submodule(module), output):
        values = {tower: model.encode(tower, batch) for tower, batch in batches.items()}
    return model.join(values, index)["class_logits"].double()
