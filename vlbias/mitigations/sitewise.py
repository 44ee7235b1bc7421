"""Mitigations that change features at one site after another, each fitted on what the earlier ones left."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from torch import Tensor

from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel
from vlbias.errors import BadStudy
from vlbias.mitigations.activations import mean_activations
from vlbias.mitigations.base import Learned, Mitigation, Need
from vlbias.mitigations.mitigated_model import revised
from vlbias.mitigations.sites import SitePoint, site_points, written_model

__all__ = ["HeldOut", "Sitewise", "groups_of", "held_out"]

Parts = Mapping[str, Tensor]
"""What was learned at one site, by the name of the part."""


def groups_of(examples: Sequence[Example]) -> tuple[np.ndarray[Any, Any], list[str]]:
    """The number of each example's group, and the groups in order."""
    names = sorted({example.attributes["group"] for example in examples})
    numbers = {name: i for i, name in enumerate(names)}
    return np.array([numbers[example.attributes["group"]] for example in examples]), names


def held_out(examples: Sequence[Example], share: float) -> Any:
    """Which examples are held out, [n] bool: a share of the clusters, drawn by the hash of their names.

    The same for every fit: a placebo that held out others would stop after another number of steps.
    """
    clusters = {example.cluster for example in examples}
    drawn = sorted(clusters, key=lambda name: hashlib.sha256(name.encode()).digest())
    chosen = set(drawn[: max(1, round(share * len(drawn)))])
    return np.array([example.cluster in chosen for example in examples])


class Sitewise(Mitigation):
    """Learns from the groups at every site in order of depth, and edits the features there.

    Subclasses have the settings `sites`, which name where it acts, and `control`, which makes them their
    own placebo.
    """

    place: ClassVar[Literal["input", "features", "weights"]] = "features"
    needs: ClassVar[frozenset[Need]] = frozenset({"groups"})
    parts: ClassVar[tuple[str, ...]]
    """Names of the tensors that are learned at each site."""

    sites: tuple[str, ...]
    control: bool

    def placebo(self) -> Self:
        """The same with what was drawn at random in place of what was learned."""
        itself: Any = self  # a dataclass, as its subclasses are
        placebo: Self = replace(itself, control=True)
        return placebo

    def sites_in(self, model: StagedModel) -> list[SitePoint]:
        """Its sites."""
        return site_points(model, self.sites)

    @abstractmethod
    def prepare(self, examples: Sequence[Example], rng: np.random.Generator) -> Any:
        """What is drawn once for all sites."""

    @abstractmethod
    def learn_site(
        self,
        model: StagedModel,
        point: SitePoint,
        examples: Sequence[Example],
        prepared: Any,
        rng: np.random.Generator,
    ) -> tuple[Parts, Mapping[str, Any]]:
        """The parts of one site, and what a report may say of it; earlier sites are changed already."""

    @abstractmethod
    def editing(
        self, point: SitePoint, learned: Parts, strength: float
    ) -> Callable[[Tensor], Tensor]:
        """The change of features [..., D] at a site."""

    def learn(
        self, model: StagedModel, examples: Sequence[Example], rng: np.random.Generator
    ) -> Learned:
        """The parts of each site, refitted along the depth."""
        points = self.sites_in(model)
        prepared = self.prepare(examples, rng)
        tensors: dict[str, Tensor] = {}
        notes: dict[str, Any] = {}
        for point in points:
            with self._edited(model, points, model.revision, tensors, 1.0) as partly:
                found, note = self.learn_site(partly, point, examples, prepared, rng)
            tensors |= {f"{point.site}.{part}": value for part, value in found.items()}
            notes[str(point.site)] = dict(note)
        return Learned(tensors, notes)

    @contextmanager
    def patched(
        self, model: StagedModel, learned: Learned, strength: float
    ) -> Iterator[StagedModel]:
        """The model with the features edited at the sites."""
        revision = revised(model.revision, self.spec, learned.key, strength)
        points = self.sites_in(model)
        with self._edited(model, points, revision, learned.tensors, strength) as mitigated:
            yield mitigated

    @contextmanager
    def _edited(
        self,
        model: StagedModel,
        points: Sequence[SitePoint],
        revision: str,
        tensors: Mapping[str, Tensor],
        strength: float,
    ) -> Iterator[StagedModel]:
        writes = []
        for point in points:
            if f"{point.site}.{self.parts[0]}" in tensors:
                mine = {part: tensors[f"{point.site}.{part}"] for part in self.parts}
                writes.append((point, point.write(self.editing(point, mine, strength))))
        with written_model(model, revision, writes) as mitigated:
            yield mitigated


class HeldOut(Sitewise):
    """Learns from the mean of a row's tokens, and tries it on clusters that are held out.

    Subclasses have the setting `share`, of the clusters that are held out.
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise BadStudy(f"{self.name}.share", self.share, "between 0 and 1")

    def prepare(self, examples: Sequence[Example], rng: np.random.Generator) -> tuple[Any, Any]:
        """The groups, and which examples are held out."""
        return groups_of(examples)[0], held_out(examples, self.share)

    def learn_site(
        self,
        model: StagedModel,
        point: SitePoint,
        examples: Sequence[Example],
        prepared: tuple[Any, Any],
        rng: np.random.Generator,
    ) -> tuple[Parts, Mapping[str, Any]]:
        """What is learned from the rows of a site."""
        groups, away = prepared
        x, owner = mean_activations(model, point, examples)
        return self.learn_rows(point, x, groups[owner], away[owner], rng)

    @abstractmethod
    def learn_rows(
        self, point: SitePoint, x: Tensor, groups: Any, away: Any, rng: np.random.Generator
    ) -> tuple[Parts, Mapping[str, Any]]:
        """The parts of one site, and what a report may say of it.

        Args:
            point: The site whose features they are.
            x: Mean tokens [rows, D].
            groups: Number of each row's group [rows].
            away: Which rows are held out [rows], bool.
            rng: Of what is drawn.
        """
