"""Where in the photo a mitigation changed the features: a map over patches, before against after."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vlbias.causal.example import Example
from vlbias.causal.staged_model import Batch, StagedModel
from vlbias.errors import BadStudy
from vlbias.mitigations.activations import batch_activation
from vlbias.mitigations.base import Fitted
from vlbias.mitigations.region_tokens import on_grid, pixels_of
from vlbias.mitigations.sites import site_points

__all__ = ["feature_changes"]


def feature_changes(
    model: StagedModel,
    fitted: Fitted,
    site: str,
    examples: Sequence[Example],
    *,
    strength: float = 1.0,
) -> list[NDArray[np.float64]]:
    """How far each patch's token moved at a site, over its length before: one map [h, w] an example.

    Args:
        model: Unmitigated.
        fitted: The mitigation.
        site: Whose tokens are patches, such as "image_encoder/resid.11".
        examples: Read in their world "null", the first row of each.
        strength: Of the mitigation.

    Raises:
        BadStudy: if the site is no port inside an encoder of images.
        BadModel: if its tokens are on no grid of the image.
    """
    point = site_points(model, [site])[0]
    tower = point.tower.name
    if point.port is None or point.site.stage != "image_encoder":
        raise BadStudy("site", site, "a port inside an encoder of images")
    maps = []
    for example in examples:
        batch = model.collate(tower, model.split(example.worlds["null"])[tower][:1])
        before = batch_activation(model, point, batch)
        with fitted.applied(model, strength) as mitigated:
            rows = mitigated.split(example.worlds["null"])[tower][:1]
            after = batch_activation(mitigated, point, mitigated.collate(tower, rows))
        first, (height, width) = _grid(batch, before)
        if before.ndim == 4:
            before, after = (x.flatten(2).mT for x in (before, after))
        one, other = (x[0, first : first + height * width].double() for x in (before, after))
        moved = torch.linalg.vector_norm(other - one, dim=-1)
        share = moved / torch.linalg.vector_norm(one, dim=-1).clamp(min=1e-12)
        maps.append(share.view(height, width).cpu().numpy())
    return maps


def _grid(batch: Batch, feature: torch.Tensor) -> tuple[int, tuple[int, int]]:
    """How many tokens stand before the patches, and the rows and columns of these."""
    pixels, shapes = pixels_of(batch), batch.get("spatial_shapes")
    size = pixels.shape[1:2] if shapes is not None else pixels.shape[-2:]
    blank = torch.zeros(1, *size, *([1] if shapes is not None else []), dtype=torch.uint8)
    _, before, grid = on_grid(blank.to(feature.device), feature, shapes)
    return before, grid[0]
