"""Prompt projection: what prompts of gender span is projected out of text embeddings; no images needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from vlbias.causal.example import Example, mix
from vlbias.causal.hooks import first_tensor
from vlbias.causal.staged_model import StagedModel
from vlbias.data.lexicon import article
from vlbias.errors import BadData, BadStudy
from vlbias.mitigations.activations import mean_activations
from vlbias.mitigations.base import Learned, Mitigation
from vlbias.mitigations.mitigated_model import revised
from vlbias.mitigations.sites import SitePoint, site_points, written_model

__all__ = ["PromptProjection"]


@dataclass(frozen=True)
class PromptProjection(Mitigation):
    """Biased prompts (Chuang et al. 2023): a calibrated projection of text embeddings.

    P = P0 (calibration · M + I)⁻¹, where P0 projects out the span of the spurious prompts' embeddings
    and M is the mean of (a - b)(a - b)ᵀ over pairs of prompts that differ in gender alone. An
    embedding z becomes z + s (P z - z), of the old length. Also what asks for gender is projected.

    In a detector, whose text tokens are what is compared with the photo, every token is projected, and
    a prompt's embedding is the mean of its tokens.

    Args:
        site: The embedding of the tower that reads texts, or a port of the text encoder in a tower that
            reads both ("text_encoder/resid.5").
        spurious: Prompts that say nothing but gender.
        pair: Two prompts for each object, with {object}.
        objects: What stands for {object}; if none are given, the classes in the examples it is fitted
            on, and without examples there is no calibration.
        calibration: Weight of the pairs, 1000 in the paper's code.
        control: Random directions of the same number and length instead.

    Raises:
        BadStudy: if a setting is not allowed.
    """

    name: ClassVar[str] = "prompt-projection"
    default_placebos: ClassVar[int] = 19
    place: ClassVar[Literal["input", "features", "weights"]] = "features"

    site: str = "text_encoder"
    spurious: tuple[str, ...] = (
        "a photo of a man",
        "a photo of a woman",
        "a photo of a male",
        "a photo of a female",
    )
    pair: tuple[str, ...] = (
        "a photo of a man with {object}",
        "a photo of a woman with {object}",
    )
    objects: tuple[str, ...] = ()
    calibration: float = 1000.0
    control: bool = False

    def __post_init__(self) -> None:
        if len(self.spurious) < 1:
            raise BadStudy("prompt-projection.spurious", self.spurious, "at least one prompt")
        if len(self.pair) != 2 or not all("{object}" in prompt for prompt in self.pair):
            raise BadStudy("prompt-projection.pair", self.pair, "two prompts with {object}")
        if self.calibration < 0:
            raise BadStudy("prompt-projection.calibration", self.calibration, "0 or more")

    def placebo(self) -> PromptProjection:
        """Random directions, as many and as long."""
        return replace(self, control=True)

    def learn(
        self, model: StagedModel, examples: Sequence[Example], rng: np.random.Generator
    ) -> Learned:
        """The matrix P."""
        point = self.sites_in(model)[0]
        objects = self.objects or tuple(
            sorted({name for e in examples for name in e.targets.get("present", ())})
        )
        spurious = self._embedded(model, point, self.spurious, examples)
        named = [f"{article(name)} {name}" for name in objects]
        one, other = (
            self._embedded(
                model, point, [prompt.replace("{object}", name) for name in named], examples
            )
            if named
            else np.zeros((0, spurious.shape[1]))
            for prompt in self.pair
        )
        apart = one - other
        if self.control:
            spurious = _random_like(spurious, rng)
            apart = _random_like(apart, rng)
        _, sizes, rows = np.linalg.svd(spurious, full_matrices=False)
        basis = rows[sizes > 1e-6 * sizes[0]]
        width = spurious.shape[1]
        outside = np.eye(width) - basis.T @ basis
        pairs = apart.T @ apart / max(1, len(apart))
        matrix = outside @ np.linalg.inv(self.calibration * pairs + np.eye(width))
        about = {"rank": len(basis), "pairs": len(apart)}
        return Learned({"matrix": torch.tensor(matrix).float()}, about)

    def sites_in(self, model: StagedModel) -> list[SitePoint]:
        """Its one site."""
        points = site_points(model, (self.site,))
        point, alone = points[0], points[0].tower.channels == ("text",)
        inside = point.port is not None and point.site.stage == "text_encoder"
        if len(points) > 1 or (point.port is None) != alone or not (alone or inside):
            raise BadStudy(
                "prompt-projection.site",
                self.site,
                "the embedding of a tower that reads texts alone, or one port of the text encoder in a "
                "tower that reads both",
            )
        return points

    @torch.inference_mode()
    def _embedded(
        self,
        model: StagedModel,
        point: SitePoint,
        texts: Sequence[str],
        examples: Sequence[Example],
    ) -> Any:
        if point.port is None:
            batch = model.collate(point.tower.name, list(texts))
            x = first_tensor(model.encode(point.tower.name, batch))
        elif examples:
            # the text encoder sees nothing of the photo, but its tower wants one
            base = examples[0].worlds["null"]
            asked = [Example(t, t, {"null": mix(base, {"text": t}, {"text"})}) for t in texts]
            means, owner = mean_activations(model, point, asked)
            x = means[torch.tensor(owner).argsort()]
        else:
            raise BadData(
                f"{self.name} at {self.site} needs a photo to run the tower with: give examples"
            )
        found = x.double().cpu().numpy()
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    @contextmanager
    def patched(
        self, model: StagedModel, learned: Learned, strength: float
    ) -> Iterator[StagedModel]:
        """The model with projected text embeddings."""
        matrix = learned.tensors["matrix"]

        def edit(z: Tensor) -> Tensor:
            size: Tensor = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
            new = torch.lerp(z, z @ matrix.to(z).mT, strength)
            now: Tensor = torch.linalg.vector_norm(new, dim=-1, keepdim=True)
            return new * (size / now.clamp(min=torch.finfo(z.dtype).tiny))

        revision = revised(model.revision, self.spec, learned.key, strength)
        point = self.sites_in(model)[0]
        with written_model(model, revision, [(point, point.write(edit))]) as mitigated:
            yield mitigated


def _random_like(rows: Any, rng: np.random.Generator) -> Any:
    """Rows in random directions, as long as the given ones."""
    drawn = rng.standard_normal(rows.shape)
    lengths = np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn / np.where(lengths > 0, lengths, 1) * np.linalg.norm(rows, axis=1, keepdims=True)
