"""Region feature blur: gender is smoothed out of an image encoder's tokens where it is visible.

After Weng et al. (2024), who blur gender in the image encoder of a detector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from vlbias.causal.distinct import RUNNING
from vlbias.causal.example import Example
from vlbias.causal.photo_sizes import picture_of
from vlbias.causal.staged_model import Batch, Encoded, StagedModel
from vlbias.data.regions import lacking
from vlbias.errors import BadData, BadStudy
from vlbias.mitigations.base import Learned, Mitigation, Need
from vlbias.mitigations.mitigated_model import MitigatedModel, revised
from vlbias.mitigations.region_tokens import Drawing, on_grid
from vlbias.mitigations.sites import SitePoint, site_points, written_model
from vlbias.mitigations.token_smoothing import Patch, Smoothing, covered_tokens

__all__ = ["FeatureBlur", "placebo_of"]


def placebo_of(region: str) -> str:
    """The name of a region's placebo, as `vlbias.data.regions.placebo_regions` gives it."""
    return f"placebo-{region}"


@dataclass(frozen=True)
class FeatureBlur(Mitigation):
    """Smooths the tokens that a region covers, at chosen blocks of the image encoder.

    At strength s a covered token h becomes (1 - s) h + s h', where h' is smoothed (and, with
    `keep_norms`, as long as h was). Tokens outside stay bit by bit as they are.

    Args:
        sites: Where tokens are smoothed: block outputs ("image_encoder/resid.8"), or feature maps; if
            none are given, the whole residual stream: what enters the first block and what every
            block gives.
        region: Name of the region that pictures carry.
        fill: "gaussian": h' is the Gaussian mean around the token; "ring": the mean of the tokens in a
            ring around the region.
        sigma: Standard deviation of the Gaussian in tokens.
        ring: Width of the ring in tokens.
        threshold: Tokens of which at least this share is covered are smoothed, and where there is
            none, the one covered most; None smooths each by the share that is covered.
        keep_norms: Whether a smoothed token keeps its length.

    Raises:
        BadStudy: if a setting is not allowed.
    """

    name: ClassVar[str] = "feature-blur"
    place: ClassVar[Literal["input", "features", "weights"]] = "features"
    needs: ClassVar[frozenset[Need]] = frozenset({"regions"})

    sites: tuple[str, ...] = ()
    region: str = "person"
    fill: Literal["gaussian", "ring"] = "gaussian"
    sigma: float = 2.0
    ring: int = 2
    threshold: float | None = 0.25
    keep_norms: bool = True

    def __post_init__(self) -> None:
        if self.fill not in ("gaussian", "ring"):
            raise BadStudy("feature-blur.fill", self.fill, "gaussian or ring")
        if not self.sigma > 0:
            raise BadStudy("feature-blur.sigma", self.sigma, "a positive number of tokens")
        if self.ring < 1:
            raise BadStudy("feature-blur.ring", self.ring, "1 token or more")
        if self.threshold is not None and not 0 < self.threshold <= 1:
            raise BadStudy("feature-blur.threshold", self.threshold, "above 0, at most 1, or none")

    def placebo(self) -> FeatureBlur:
        """The same on the region of equal area elsewhere."""
        return replace(self, region=placebo_of(self.region))

    def unusable(self, examples: Sequence[Example]) -> dict[str, str]:
        """Photos without a known region; with a ring also those that the region covers."""
        reasons = lacking(examples, self.region)
        for example in examples if self.fill == "ring" else ():
            if example.id not in reasons and _covers(example, self.region):
                reasons[example.id] = f"region {self.region!r} covers the whole image: no ring"
        return reasons

    def learn(
        self, model: StagedModel, examples: Sequence[Example], rng: np.random.Generator
    ) -> Learned:
        """Nothing to learn; sites and regions are checked."""
        self.sites_in(model)
        missing = self.unusable(examples)
        if missing:
            named = ", ".join(f"{number} ({why})" for number, why in [*missing.items()][:5])
            raise BadData(f"{len(missing)} photos cannot be used: {named}; leave them out")
        return Learned()

    def sites_in(self, model: StagedModel) -> list[SitePoint]:
        """Its sites, or the whole residual stream."""
        points = site_points(model, self.sites or _stream(model))
        for found in points:
            if found.site.stage != "image_encoder" or found.port is None:
                raise BadStudy(
                    "feature-blur.sites", str(found.site), "a port inside an encoder of images"
                )
        return points

    @contextmanager
    def patched(
        self, model: StagedModel, learned: Learned, strength: float
    ) -> Iterator[StagedModel]:
        """The model whose image encoder smooths the region of each picture."""
        points = self.sites_in(model)
        revision = revised(model.revision, self.spec, strength)
        inner = _Blurred(model, revision, points[0].tower.name, self)

        def writing(point: SitePoint) -> Any:
            return lambda tensor: inner.smoothed(tensor, str(point.site), strength)

        with written_model(
            inner, revision, [(point, writing(point)) for point in points]
        ) as mitigated:
            yield mitigated


def _stream(model: StagedModel) -> tuple[str, ...]:
    """The residual stream of the image encoder, as far as the adapter names it."""
    found = {port.name: port for port in model.ports if port.stage == "image_encoder"}
    patterns = {"embed": "image_encoder/embed", "resid": "image_encoder/resid.*"}
    given = tuple(text for name, text in patterns.items() if name in found)
    if not given:
        expected = f"sites in an image encoder, of the ports {', '.join(found) or 'none'}"
        raise BadStudy(
            "feature-blur.sites", (), f"{expected}: {model.name} names no residual stream"
        )
    return given


def _covers(example: Example, region: str) -> bool:
    size = example.targets.get("size")
    return size is not None and any(
        bool(inputs["image"].region(region).pixels(size).all())
        for inputs in example.worlds.values()
    )


class _Blurred(MitigatedModel):
    """Carries the regions of the rows beside their pixels, from `collate` to the blocks."""

    def __init__(
        self, inner: StagedModel, revision: str, tower: str, settings: FeatureBlur
    ) -> None:
        super().__init__(inner, revision)
        self._tower, self._settings = tower, settings
        self._key = f"region {revision}"  # two blurs, one inside the other, keep theirs apart
        # a drawn region carries no region that another blur below could look for
        self._drawing = Drawing(self.plain, tower, settings.region)
        self._share: Tensor | None = None
        self._shapes: Tensor | None = None
        self._smoothing = Smoothing(
            settings.fill, settings.sigma, settings.ring, settings.keep_norms
        )
        self._known: dict[tuple[int, ...], list[Patch]] = {}

    def collate(self, tower: str, rows: Sequence[Any]) -> Batch:
        """The batch, with the share of each pixel that lies in the region."""
        batch = self.inner.collate(tower, rows)
        if tower == self._tower:
            share = self._drawing(rows)
            if self._settings.fill == "ring":
                _refuse_covered(rows, share)
            batch[self._key] = share
        return batch

    def encode(self, tower: str, batch: Batch) -> Encoded:
        """What the tower gives when the regions of these rows are smoothed."""
        with self._reading(tower, batch) as rest:
            return self.inner.encode(tower, rest)

    def past(self, tower: str, batch: Batch) -> Any:
        """As `encode`, of the tokens that are kept."""
        with self._reading(tower, batch) as rest:
            return super().past(tower, rest)

    def continued(self, tower: str, batch: Batch, past: Any, rows: Tensor, start: int) -> Encoded:
        """As `encode`, of the tokens from `start` on."""
        with self._reading(tower, batch) as rest:
            return super().continued(tower, rest, past, rows, start)

    @contextmanager
    def _reading(self, tower: str, batch: Batch) -> Iterator[Batch]:
        """The batch without its regions, which are smoothed as long as the context lasts."""
        if tower != self._tower:
            yield batch
            return
        self._share, self._shapes = batch[self._key], batch.get("spatial_shapes")
        self._known = {}
        try:
            yield {key: value for key, value in batch.items() if key != self._key}
        finally:
            self._share, self._shapes, self._known = None, None, {}

    def smoothed(self, tensor: Tensor, site: str, strength: float) -> Tensor:
        """The tensor at a site with the tokens of the region smoothed."""
        if self._share is None:
            raise BadData(
                f"{self.name}: {site} ran without regions; call the mitigated model's collate and encode "
                "(or vlbias), not the network itself"
            )
        if tensor.ndim == 4:
            tokens = tensor.flatten(2).mT.contiguous()  # [R, P, C]
            return self._changed(tokens, tensor, strength).mT.reshape(tensor.shape)
        return self._changed(tensor.clone(memory_format=torch.contiguous_format), tensor, strength)

    def _changed(self, tokens: Tensor, feature: Tensor, strength: float) -> Tensor:
        """The tokens [R, T, D] of a feature, those of the regions smoothed in place."""
        for patch in self._patches(tokens, feature):
            self._smoothing.apply(tokens, patch, strength)
        return tokens

    def _patches(self, tokens: Tensor, feature: Tensor) -> list[Patch]:
        """What is smoothed, one patch for all rows whose grids have the same shape."""
        spatial = feature.shape[2:] if feature.ndim == 4 else feature.shape[1:2]
        key = (feature.shape[0], *spatial)
        if key not in self._known:
            assert self._share is not None
            share, shapes, rows = self._share, self._shapes, RUNNING.get()
            tiles = share.shape[1] if share.ndim == 4 else 1
            if rows is not None and len(rows) * tiles == len(feature):
                share = share[rows]
                shapes = None if shapes is None else shapes[rows]
            share = share.flatten(0, 1) if share.ndim == 4 else share
            covered, before, grids = on_grid(share, feature, shapes)
            patches = []
            for shape in dict.fromkeys(grids):
                alike = [row for row, own in enumerate(grids) if own == shape]
                part = covered[alike, : shape[0] * shape[1]]
                weight = covered_tokens(part, self._settings.threshold)
                patches.append(
                    self._smoothing.patch(weight, shape, tokens, before=before, rows=alike)
                )
            self._known[key] = [patch for patch in patches if patch is not None]
        return self._known[key]


def _refuse_covered(rows: Sequence[Any], share: Tensor) -> None:
    for row, one in zip(rows, share, strict=True):
        if bool((one == 255).all()):
            raise BadData(
                f"{picture_of(row)}: the region covers the whole image, so that there is no ring around "
                "it; take fill 'gaussian', or leave the photo out"
            )
