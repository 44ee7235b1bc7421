"""Training of named blocks until a model says of photos what it would say if their groups were alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel
from vlbias.causal.turns import in_turn
from vlbias.edits.change import kept, only_trained
from vlbias.edits.weights import weight_blocks
from vlbias.errors import BadData, BadModel, BadStudy
from vlbias.mitigations.base import Learned
from vlbias.mitigations.crossed_pairs import CrossedPairs, PairLogits, crossed_pairs
from vlbias.mitigations.sites import SitePoint
from vlbias.mitigations.sitewise import groups_of, held_out
from vlbias.mitigations.weight_changes import WeightChange

__all__ = ["LocatedUnlearning"]

_CONTROLS = ("", "shuffled-groups", "random-layers")
_READS = {"image_encoder": ("image",), "text_encoder": ("text",)}


@dataclass(frozen=True)
class LocatedUnlearning(WeightChange):
    """The weights of named blocks are trained, all others frozen, until groups are scored alike.

    Every photo is paired with a text of each group. Of the logits that the model gives them, what a linear
    regression on group and objects puts down to the group is taken away; the rest, all that it knows of
    objects, is retained. Blocks learn these logits: AdamW on their mean squared difference, in units of each
    logit's standard deviation. Blocks of the image encoder unlearn the group that the image shows, those
    of the text encoder the one that the text names, all others both: since photos and texts are crossed, no
    block can make up for what another does. What is kept are the weights of the check that did best on
    held-out photos; where a loss is no number any more, training stops.

    Args:
        sites: Blocks, such as "image_encoder/mlp.2" or "image_encoder/resid.*".
        steps: Of AdamW, without decay.
        rate: Its learning rate.
        batch: Pairs of a step.
        check: Steps between two looks at the held-out photos.
        share: Of the clusters held out.
        control: "shuffled-groups": the same training after groups were shuffled over photos; "random-layers":
            other layers of the same encoder are trained; "" for neither.
        draw: Seed of the random layers.

    Raises:
        BadStudy: if a setting is not allowed.
    """

    name: ClassVar[str] = "located-unlearning"

    sites: tuple[str, ...] = ()
    steps: int = 300
    rate: float = 1e-3
    batch: int = 32
    check: int = 20
    share: float = 0.2
    control: Literal["", "shuffled-groups", "random-layers"] = ""
    draw: int = 0

    def __post_init__(self) -> None:
        for field in ("steps", "batch", "check"):
            if getattr(self, field) < 1:
                raise BadStudy(f"{self.name}.{field}", getattr(self, field), "1 or more")
        if not 0 < self.share < 1:
            raise BadStudy(f"{self.name}.share", self.share, "between 0 and 1")
        if not self.rate > 0:
            raise BadStudy(f"{self.name}.rate", self.rate, "a positive number")
        if self.control not in _CONTROLS:
            expected = f"one of {', '.join(map(repr, _CONTROLS))}"
            raise BadStudy(f"{self.name}.control", self.control, expected)

    def placebo(self) -> LocatedUnlearning:
        """The same training after groups were shuffled over photos."""
        return replace(self, control="shuffled-groups")

    def learn(
        self, model: StagedModel, examples: Sequence[Example], rng: np.random.Generator
    ) -> Learned:
        """What training adds to each parameter of the blocks."""
        points = self.sites_in(model)
        groups, _ = groups_of(examples)
        if self.control == "shuffled-groups":
            groups = rng.permutation(groups)
        names = [n for b in weight_blocks(model, [str(p.site) for p in points]) for n in b.names]
        names = list(dict.fromkeys(names))
        _refuse_half(model, names)
        pairs = crossed_pairs(examples, groups, rng)
        with in_turn(model), kept(model.net, names), only_trained(model.net, names):
            training = _Training(self, model, points, pairs, names)
            notes = training.run(rng)
            steps = training.steps_from_start()
        return Learned(steps, notes)


def _refuse_half(model: StagedModel, names: Sequence[str]) -> None:
    dtypes = {str(model.net.get_parameter(name).dtype).removeprefix("torch.") for name in names}
    if dtypes - {"float32", "float64"}:
        raise BadModel(
            f"{model.name}: weights of {', '.join(sorted(dtypes))} are too coarse to be trained; load the "
            'model with dtype = "float32"'
        )


class _Training:
    def __init__(
        self,
        settings: LocatedUnlearning,
        model: StagedModel,
        points: Sequence[SitePoint],
        pairs: CrossedPairs,
        names: Sequence[str],
    ) -> None:
        self.settings, self.net = settings, model.net
        self.logits = PairLogits(
            model, pairs.inputs, frozenset(point.tower.name for point in points)
        )
        before = self.logits.all()
        channels = sorted({c for p in points for c in _READS.get(p.site.stage, ("image", "text"))})
        self.goal = pairs.alike(before, channels).to(before)
        self.scale = self.goal.std(0).clamp(min=1e-6 * max(float(self.goal.std()), 1e-30))
        away = held_out(pairs.photos, settings.share)
        self.mine, self.away = np.flatnonzero(~away), np.flatnonzero(away)
        if not len(self.mine):
            raise BadData(
                f"{settings.name}: all photos are held out; give more of them, or a smaller `share`"
            )
        self.trained = {name: model.net.get_parameter(name) for name in names}
        self.start = self._values()

    def run(self, rng: np.random.Generator) -> dict[str, Any]:
        """Train; ends with the weights of the check that did best on held-out photos."""
        settings = self.settings
        optimiser = torch.optim.AdamW(
            list(self.trained.values()), lr=settings.rate, weight_decay=0.0
        )
        first, best = self._held_out_loss(), float("inf")
        good, at, stopped = self.start, 0, ""
        for step in range(1, settings.steps + 1):
            picked = rng.choice(self.mine, size=min(settings.batch, len(self.mine)), replace=False)
            optimiser.zero_grad()
            with torch.enable_grad():
                loss = self._loss(picked)
            if not bool(torch.isfinite(loss)):
                stopped = f"diverged at step {step}: the loss is {float(loss.detach())}"
                break
            loss.backward()
            optimiser.step()
            if step % settings.check == 0 or step == settings.steps:
                now = self._held_out_loss()
                if now < best:
                    best, good, at = now, self._values(), step
        for name, value in good.items():
            self.trained[name].data.copy_(value)
        about = {"held_out_before": first, "held_out_after": best if at else first, "step": at}
        return {**about, "stopped": stopped} if stopped else about

    def steps_from_start(self) -> dict[str, Tensor]:
        """By how much each parameter was moved."""
        return {name: value - self.start[name] for name, value in self._values().items()}

    def _loss(self, picked: NDArray[np.intp]) -> Tensor:
        said = self.logits(picked.tolist())
        return (((said - self.goal[picked]) / self.scale) ** 2).mean()

    @torch.no_grad()
    def _held_out_loss(self) -> float:
        parts = np.array_split(self.away, max(1, len(self.away) // 32))
        losses = [float(self._loss(part)) * len(part) for part in parts]
        return round(sum(losses) / len(self.away), 6)

    def _values(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self.trained.items()}
