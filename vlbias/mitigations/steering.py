"""Steering vectors: features are moved along the direction between the groups' means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel
from vlbias.errors import BadData, BadStudy
from vlbias.mitigations.activations import mean_activations
from vlbias.mitigations.sites import SitePoint
from vlbias.mitigations.sitewise import Parts, Sitewise, groups_of

__all__ = ["Steering"]


@dataclass(frozen=True)
class Steering(Sitewise):
    """Moves features along a difference of means, or takes that direction out.

    The vector v points from the mean of the other groups to that of one group, over the mean tokens of the
    rows of the fit split (contrastive activation addition, Rimsky et al. 2024, arXiv 2312.06681). With `mode`
    "ablate" a feature x becomes x - s ((x - m) · u) u, where u is v of length 1 and m lies half-way between the
    means: it no longer says on which side it is (directional ablation, Arditi et al. 2024, arXiv 2406.11717,
    here around m). With "add" it becomes x + s c v, which pushes every example towards the group.

    The placebo moves every feature exactly as far, in a direction that is drawn at random: what is read, and by
    how much, stays, and what is written is another vector.

    Args:
        sites: Where: parts of the residual stream, at named tokens if need be ("lm/resid.*@image").
        mode: "ablate" or "add".
        towards: The group that v points to; of two groups, the second by name if none is given.
        coefficient: c, how many lengths of v are added at strength 1; for "add".
        control: Move along a random direction instead.

    Raises:
        BadStudy: if a setting is not allowed.
    """

    name: ClassVar[str] = "steering"
    parts: ClassVar[tuple[str, ...]] = ("read", "write", "middle", "length")

    sites: tuple[str, ...] = ("image_encoder/resid.*",)
    mode: Literal["ablate", "add"] = "ablate"
    towards: str = ""
    coefficient: float = 1.0
    control: bool = False

    def __post_init__(self) -> None:
        if self.mode not in ("ablate", "add"):
            raise BadStudy("steering.mode", self.mode, "ablate or add")
        if not np.isfinite(self.coefficient) or self.coefficient == 0:
            raise BadStudy(
                "steering.coefficient", self.coefficient, "a finite number that is not 0"
            )

    def prepare(self, examples: Sequence[Example], rng: np.random.Generator) -> Any:
        """Which examples are of the group that v points to, [n] bool."""
        groups, names = groups_of(examples)
        if not self.towards and len(names) > 2:
            raise BadData(
                f"steering: the examples are of {len(names)} groups ({', '.join(names)}); name one of them "
                "as `towards`, which is compared with all others"
            )
        if self.towards and self.towards not in names:
            raise BadStudy(
                "steering.towards", self.towards, f"one of the groups {', '.join(names)}"
            )
        return groups == names.index(self.towards or names[-1])

    def learn_site(
        self,
        model: StagedModel,
        point: SitePoint,
        examples: Sequence[Example],
        prepared: Any,
        rng: np.random.Generator,
    ) -> tuple[Parts, dict[str, Any]]:
        """The direction of a site.

        Raises:
            BadData: if the groups have one mean, so that there is no direction.
        """
        rows, owner = mean_activations(model, point, examples)
        x, there = rows.double().cpu(), torch.tensor(prepared[owner])
        one, other = x[there].mean(0), x[~there].mean(0)
        length = torch.linalg.vector_norm(one - other)
        if not float(length) > 0:
            raise BadData(f"steering: both groups have the same mean at {point.site}: no direction")
        read = (one - other) / length
        write = read
        if self.control:
            drawn = torch.tensor(rng.standard_normal(len(read)))
            write = drawn / torch.linalg.vector_norm(drawn)
        found = {
            "read": read,
            "write": write,
            "middle": (one + other) / 2,
            "length": length[None],
        }
        size = float(torch.linalg.vector_norm(x, dim=1).mean())
        note = {"length": round(float(length), 6), "of_the_feature": round(float(length) / size, 6)}
        return {part: value.float().contiguous() for part, value in found.items()}, note

    def editing(
        self, point: SitePoint, learned: Parts, strength: float
    ) -> Callable[[Tensor], Tensor]:
        """The move of a site."""

        def edit(x: Tensor) -> Tensor:
            write = learned["write"].to(x)
            if self.mode == "add":
                return x + strength * self.coefficient * learned["length"].to(x) * write
            side = (x - learned["middle"].to(x)) @ learned["read"].to(x)
            return x - strength * side[..., None] * write

        return edit
