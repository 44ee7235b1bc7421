"""Maps of where in the image a condition changes features: norms of tokens, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vlbias.causal.call_order import Point
from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel, Tower
from vlbias.files import whole
from vlbias.mitigations.activations import first_tensors
from vlbias.studies.mitigation.conditions import Part
from vlbias.studies.mitigation.work.condition_models import ConditionModels
from vlbias.studies.mitigation.work.passes import nulls, rows_of

__all__ = ["mapped_point", "write_map"]

_PHOTOS = 4  # whose maps are kept one by one


def mapped_point(model: StagedModel) -> tuple[Tower, str] | None:
    """The tower that reads photos, and the last block of its image encoder, whose tokens are mapped.

    None where the model names no blocks of an image encoder.
    """
    stage = "image_encoder"
    for port in model.ports:
        if (port.stage, port.name) == (stage, "resid") and port.layers:
            tower = next(t for t in model.towers if stage in {s.name for s in t.stages})
            return tower, port.path(port.layers - 1)
    return None


def write_map(models: ConditionModels, part: Part, path: Path) -> None:
    """Write the arrays of a map whole or not at all."""
    unusable = models.unusable(part.condition.fit, part.examples)
    examples = [example for example in part.examples if example.id not in unusable]
    arrays: dict[str, Any] = _map(models, part, examples)
    with whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def _map(
    models: ConditionModels, part: Part, examples: Sequence[Example]
) -> dict[str, NDArray[Any]]:
    """Mean over photos of each token's norm before and after, and of the norm of its change.

    Of the first photos also the share of the norm that changes, photo by photo. Nothing where photos
    of several sizes have no tokens in common.
    """
    place, batch = mapped_point(models.model), models.plan.study.mitigation.batch
    assert place is not None
    before = _tokens(models.model, *place, examples, batch)
    if len({one.shape[1:] for one in before}) > 1:
        return {}
    with models.applied(part.condition) as model:
        after = _tokens(model, *place, examples, batch)
    sums = []
    count = 0
    for one, other in zip(before, after, strict=True):
        norms = [values.norm(dim=-1).sum(0) for values in (one, other, other - one)]
        sums.append(torch.stack(norms).double())
        count += len(one)
    total = torch.stack(sums).sum(0) / count
    moved = (after[0] - before[0])[:_PHOTOS].norm(dim=-1)
    share = moved / before[0][:_PHOTOS].norm(dim=-1).clamp(min=1e-12)
    shown = [example.id for example in examples[: len(share)]]
    means = dict(zip(("before", "after", "change"), total.numpy(), strict=True))
    return means | {"photo_share": share.numpy(), "photo_id": np.array(shown)}


def _tokens(
    model: StagedModel, tower: Tower, last: str, examples: Sequence[Example], batch: int
) -> list[torch.Tensor]:
    values = rows_of(model, tower, nulls(examples))
    found = []
    for start in range(0, len(values), batch):
        rows = model.collate(tower.name, values[start : start + batch])
        point: Point = (last, "out")
        found.append(first_tensors(model, tower.name, [point], rows)[point].float().cpu())
    return found
