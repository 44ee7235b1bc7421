"""Features chosen by how much they tell of gender, given a neutral value or dropped: SFID and CLIP-clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import mutual_info_classif
from torch import Tensor

from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel
from vlbias.errors import BadData, BadStudy
from vlbias.mitigations.activations import mean_activations
from vlbias.mitigations.base import Learned, Mitigation, Need
from vlbias.mitigations.mitigated_model import revised
from vlbias.mitigations.sites import SitePoint, site_points, written_model
from vlbias.mitigations.sitewise import HeldOut, Parts, groups_of

__all__ = ["ClipClip", "Sfid"]

Where = Literal["input", "features", "weights"]


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _unit(x: Tensor) -> Tensor:
    size: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / size


@dataclass(frozen=True)
class Sfid(HeldOut):
    """Selective feature imputation (Jung et al. 2024): features a forest reads get a neutral value.

    A random forest tells the group from the mean of a row's tokens; its `features` most important
    features are set to their mean over held-out rows of which the forest is unsure. Embeddings are
    changed as unit vectors and keep their length: the published code leaves renormalising out.

    Args:
        sites: Where, each with a forest of its own, refitted along the depth.
        features: How many features are set.
        trees: Of the forest.
        unsure: A row counts as unsure if its likeliest group has less than this probability.
        share: Of the clusters held out to find unsure rows.
        control: Set as many random features instead.

    Raises:
        BadStudy: if a setting is not allowed.
    """

    name: ClassVar[str] = "sfid"
    parts: ClassVar[tuple[str, ...]] = ("chosen", "neutral")

    sites: tuple[str, ...] = ("image_encoder",)
    features: int = 50
    trees: int = 100
    unsure: float = 0.7
    share: float = 0.25
    control: bool = False

    def __post_init__(self) -> None:
        for field, given in (("features", self.features), ("trees", self.trees)):
            if given < 1:
                raise BadStudy(f"sfid.{field}", given, "1 or more")
        if not 0.5 < self.unsure <= 1:
            raise BadStudy("sfid.unsure", self.unsure, "above 0.5, at most 1")
        super().__post_init__()

    def learn_rows(
        self, point: SitePoint, x: Tensor, groups: Any, away: Any, rng: np.random.Generator
    ) -> tuple[Parts, dict[str, Any]]:
        """The chosen features of a site and their neutral values.

        Raises:
            BadStudy: if there are no features left.
            BadData: if the forest is sure of every held-out row.
        """
        if self.features >= x.shape[1]:
            expected = f"fewer than the {x.shape[1]} features of {point.site}"
            raise BadStudy("sfid.features", self.features, expected)
        values = (_unit(x) if point.port is None else x).double().cpu().numpy()
        forest = RandomForestClassifier(self.trees, random_state=_seed(rng))
        forest.fit(values[~away], groups[~away])
        sure = forest.predict_proba(values[away]).max(1)
        if not (sure < self.unsure).any():
            raise BadData(
                f"sfid: of {len(sure)} held-out rows the forest is unsure of none (least {sure.min():.2f}, "
                f"asked below {self.unsure}); raise `unsure`, or fit on more photos"
            )
        chosen = np.argsort(-forest.feature_importances_, kind="stable")[: self.features]
        if self.control:
            chosen = rng.permutation(values.shape[1])[: self.features]
        neutral = values[away][sure < self.unsure][:, chosen].mean(0)
        right = forest.predict(values[away]) == groups[away]
        return {"chosen": torch.tensor(chosen), "neutral": torch.tensor(neutral).float()}, {
            "unsure_rows": int((sure < self.unsure).sum()),
            "held_out_accuracy": round(float(right.mean()), 4),
        }

    def editing(
        self, point: SitePoint, learned: Parts, strength: float
    ) -> Callable[[Tensor], Tensor]:
        """The chosen features moved towards their neutral values."""
        is_embedding = point.port is None

        def edit(x: Tensor) -> Tensor:
            # a pooled embedding's scale means nothing to a cosine: its direction is edited
            size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
            scale = size if is_embedding else torch.ones_like(size)
            at = learned["chosen"].to(x.device)
            old = x.index_select(-1, at)
            neutral = learned["neutral"].to(x) * scale
            new = x.index_copy(-1, at, torch.lerp(old, neutral, strength))
            return _unit(new) * size if is_embedding else new

        return edit


@dataclass(frozen=True)
class ClipClip(Mitigation):
    """CLIP-clip (Wang et al. 2021): the dimensions most informative of gender are dropped in both towers.

    Mutual information of each dimension of the first site's embedding with the group; the `features`
    most informative dimensions are scaled by 1 - strength everywhere. What is left is renormalised by
    the cosine, which the published code left out.

    Args:
        sites: Embeddings of one space; the first is the one that is measured.
        features: How many dimensions are dropped.
        control: Drop as many random dimensions instead.

    Raises:
        BadStudy: if a setting is not allowed.
    """

    name: ClassVar[str] = "clip-clip"
    default_placebos: ClassVar[int] = 19
    place: ClassVar[Where] = "features"
    needs: ClassVar[frozenset[Need]] = frozenset({"groups"})

    sites: tuple[str, ...] = ("image_encoder", "text_encoder")
    features: int = 50
    control: bool = False

    def __post_init__(self) -> None:
        if self.features < 1:
            raise BadStudy("clip-clip.features", self.features, "1 or more")

    def placebo(self) -> ClipClip:
        """As many random dimensions."""
        return replace(self, control=True)

    def learn(
        self, model: StagedModel, examples: Sequence[Example], rng: np.random.Generator
    ) -> Learned:
        """The dimensions to drop.

        Raises:
            BadStudy: if there are no dimensions left.
        """
        points = self.sites_in(model)
        first = next(point for point in points if str(point.site) == self.sites[0])
        groups, _ = groups_of(examples)
        x, owner = mean_activations(model, first, examples)
        values = _unit(x).double().cpu().numpy()
        if self.features >= values.shape[1]:
            expected = f"fewer than the {values.shape[1]} dimensions there are"
            raise BadStudy("clip-clip.features", self.features, expected)
        told = mutual_info_classif(values, groups[owner], random_state=_seed(rng))
        order = np.argsort(-told, kind="stable")
        if self.control:
            order = rng.permutation(values.shape[1])
        chosen = torch.tensor(order[: self.features].copy())
        about = {"width": int(values.shape[1]), "most_nats": round(float(told.max()), 4)}
        return Learned({"chosen": chosen}, about)

    def sites_in(self, model: StagedModel) -> list[SitePoint]:
        """Its embeddings."""
        points = site_points(model, self.sites)
        for point in points:
            if point.port is not None:
                raise BadStudy("clip-clip.sites", str(point.site), "the embedding of a whole tower")
        return points

    @contextmanager
    def patched(
        self, model: StagedModel, learned: Learned, strength: float
    ) -> Iterator[StagedModel]:
        """The model without the dimensions."""
        chosen, width = learned.tensors["chosen"], learned.notes["width"]

        def edit(x: Tensor) -> Tensor:
            if x.shape[-1] != width:
                raise BadStudy("clip-clip.sites", self.sites, f"embeddings of width {width}")
            at = chosen.to(x.device)
            return x.index_copy(-1, at, x.index_select(-1, at) * (1.0 - strength))

        revision = revised(model.revision, self.spec, learned.key, strength)
        writes = [(point, point.write(edit)) for point in self.sites_in(model)]
        with written_model(model, revision, writes) as mitigated:
            yield mitigated
