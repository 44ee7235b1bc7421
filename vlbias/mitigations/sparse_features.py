"""Features of a sparse autoencoder that tell the groups apart are turned off; all else stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel
from vlbias.errors import BadStudy
from vlbias.mitigations.activations import Activations, activations
from vlbias.mitigations.sites import SitePoint
from vlbias.mitigations.sitewise import Parts, Sitewise, groups_of
from vlbias.mitigations.sparse_autoencoder import (
    SparseAutoencoder,
    read_autoencoder,
    train_autoencoder,
)

__all__ = ["SparseFeatures"]

_MOST_TOKENS = 20_000
"""Tokens that an autoencoder is trained on, at most."""


@dataclass(frozen=True)
class SparseFeatures(Sitewise):
    """Gives chosen features f of a sparse autoencoder another value g: x becomes x + s (g - f) D.

    What the autoencoder does not explain is kept (as in Marks et al. 2025, arXiv 2403.19647): with no feature
    changed, x stays bit by bit. Chosen are the features whose mean over a row's tokens differs most between
    the groups, in standard deviations within them. The placebo turns off as many others, drawn at random among
    those that are ever active on the fit split.

    Args:
        sites: Where, of the width that the autoencoder reads: "lm/resid.12@image".
        folder: Of the user's autoencoder; see `sparse_autoencoder.read_autoencoder`. If none is given, one is
            trained on the tokens of the fit split at each site.
        features: Their numbers, in place of those that differ most.
        most: How many are chosen.
        fill: Their new value: 0, or the mean of the groups' means.
        expansion: Features a channel, of one that is trained here.
        k: Active features a token, of one that is trained here.
        steps: Of training.
        control: Turn off random features instead.

    Raises:
        BadStudy: if a setting is not allowed.
    """

    name: ClassVar[str] = "sae"
    parts: ClassVar[tuple[str, ...]] = (
        "encoder", "bias", "centre", "threshold", "k", "chosen", "decoder", "fill",
    )  # fmt: skip

    sites: tuple[str, ...] = ("image_encoder/resid.1",)
    folder: str = ""
    features: tuple[int, ...] = ()
    most: int = 8
    fill: Literal["zero", "mean"] = "zero"
    expansion: int = 4
    k: int = 16
    steps: int = 400
    control: bool = False

    def __post_init__(self) -> None:
        for name in ("most", "expansion", "k", "steps"):
            if getattr(self, name) < 1:
                raise BadStudy(f"sae.{name}", getattr(self, name), "1 or more")
        if self.fill not in ("zero", "mean"):
            raise BadStudy("sae.fill", self.fill, "zero or mean")
        if len(set(self.features)) < len(self.features) or any(n < 0 for n in self.features):
            raise BadStudy("sae.features", self.features, "different numbers, 0 or more")

    def prepare(self, examples: Sequence[Example], rng: np.random.Generator) -> Any:
        """The number of each example's group."""
        return groups_of(examples)[0]

    def learn_site(
        self,
        model: StagedModel,
        point: SitePoint,
        examples: Sequence[Example],
        prepared: Any,
        rng: np.random.Generator,
    ) -> tuple[Parts, dict[str, Any]]:
        """The autoencoder of a site, and the features that are turned off."""
        seen = list(activations(model, point, examples))
        tokens = torch.cat([part.tokens[0] for part in seen]).float().cpu()
        net = self._autoencoder(point, tokens, rng)
        means = torch.cat([_feature_means(net, part) for part in seen])
        groups = prepared[[number for part in seen for number in part.examples]]
        apart, level = _apart(means, groups)
        chosen = self._chosen(net, apart, level, rng)
        fill = level[chosen] if self.fill == "mean" else torch.zeros(len(chosen))
        # where any number may be active, the others are none of the chosen ones' business
        read = chosen if not net.k else torch.arange(net.count)
        parts = {
            "encoder": net.encoder[:, read],
            "bias": net.bias[read],
            "centre": net.centre,
            "threshold": net.threshold[read],
            "k": torch.tensor([float(net.k)]),
            "chosen": (chosen if net.k else torch.arange(len(chosen))).float(),
            "decoder": net.decoder[chosen],
            "fill": fill,
        }
        note = {
            "features": chosen.tolist(),
            "apart": [round(float(value), 4) for value in apart[chosen]],
            "unexplained": round(net.unexplained(tokens[:_MOST_TOKENS]), 4),
            "count": net.count,
        }
        return {part: value.float().contiguous() for part, value in parts.items()}, note

    def _autoencoder(
        self, point: SitePoint, tokens: Tensor, rng: np.random.Generator
    ) -> SparseAutoencoder:
        width = tokens.shape[1]
        if self.folder:
            net = read_autoencoder(Path(self.folder))
            if net.width != width:
                expected = f"an autoencoder of features of width {width}, as at {point.site}"
                raise BadStudy("sae.folder", f"{self.folder}: width {net.width}", expected)
            return net
        if len(tokens) > _MOST_TOKENS:
            tokens = tokens[torch.tensor(rng.permutation(len(tokens))[:_MOST_TOKENS])]
        # a stream of its own: the placebo's autoencoder is the same
        own = np.random.default_rng(0)
        return train_autoencoder(
            tokens, count=self.expansion * width, k=self.k, steps=self.steps, rng=own
        )

    def _chosen(
        self, net: SparseAutoencoder, apart: Tensor, level: Tensor, rng: np.random.Generator
    ) -> Tensor:
        if self.features and max(self.features) >= net.count:
            raise BadStudy("sae.features", self.features, f"numbers up to {net.count - 1}")
        alive = (level > 0).nonzero().flatten()
        ranked = alive[apart[alive].argsort(descending=True, stable=True)]
        found = torch.tensor(self.features) if self.features else ranked[: self.most]
        if not len(found):
            raise BadStudy(
                "sae", self.folder, "an autoencoder with features that are ever active here"
            )
        if self.control:
            others = [n for n in alive.tolist() if n not in found.tolist()] or alive.tolist()
            found = torch.tensor(rng.permutation(others)[: len(found)])
        return found.sort().values

    def editing(
        self, point: SitePoint, learned: Parts, strength: float
    ) -> Callable[[Tensor], Tensor]:
        """The change of a site's features."""
        zeros = torch.zeros(0)
        net = SparseAutoencoder(
            learned["encoder"], learned["bias"], learned["centre"], zeros, zeros,
            learned["threshold"], int(learned["k"]),
        )  # fmt: skip
        chosen = learned["chosen"].long()

        def edit(x: Tensor) -> Tensor:
            active = net.features(x).index_select(-1, chosen.to(x.device))
            return x + strength * ((learned["fill"].to(x) - active) @ learned["decoder"].to(x))

        return edit


def _feature_means(net: SparseAutoencoder, values: Activations) -> Tensor:
    """The mean feature over each row's own tokens, [R, F]."""
    features = net.features(values.tensor.float().cpu())
    if features.ndim == 2:
        return features
    weight = values.own.float().cpu()
    return (weight[:, None] @ features)[:, 0] / weight.sum(1, keepdim=True)


def _apart(means: Tensor, groups: Any) -> tuple[Tensor, Tensor]:
    """How far the groups' means lie apart, in deviations within a group, and the mean of the means; [F]."""
    numbers = torch.tensor(groups)
    own = [means[numbers == group].double() for group in numbers.unique()]
    centres = torch.stack([rows.mean(0) for rows in own])
    within = torch.stack([rows.var(0, correction=0) * len(rows) for rows in own]).sum(0) / len(
        means
    )
    spread = centres.amax(0) - centres.amin(0)
    return (spread / (within.sqrt() + 1e-6)).float(), centres.mean(0).float()
