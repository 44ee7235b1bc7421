"""Rank-one edits of MLPs after which the groups of a fit split read alike behind a block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel
from vlbias.causal.turns import in_turn
from vlbias.edits.change import kept
from vlbias.edits.solve import rank_one_update
from vlbias.edits.weights import OutputMap, output_maps
from vlbias.errors import BadStudy
from vlbias.mitigations.activations import activations_at_all
from vlbias.mitigations.base import Learned
from vlbias.mitigations.sites import site_points
from vlbias.mitigations.sitewise import groups_of
from vlbias.mitigations.weight_changes import WeightChange, group_effects

__all__ = ["RankOneMitigation"]


@dataclass(frozen=True)
class RankOneMitigation(WeightChange):
    """The least change of an MLP's last map after which groups do not differ in their means behind it.

    The edit of ROME (Meng et al. 2022) with the difference d between the groups' mean keys as its key: the
    map W becomes W + r (C⁻¹d)ᵀ / dᵀC⁻¹d, where C is the covariance of the keys of all tokens. With
    `goal = "map"` r is -W d, so that the MLP writes the same for all groups; with "block" r is minus the
    groups' difference in the residual stream behind the block, which the MLP then takes out. The bias is
    moved so that the mean of the keys gives what it gave. Means are at the same objects (see
    `weight_changes.group_effects`). Sites are edited in order of depth. For k groups the change is of
    rank k - 1.

    Args:
        sites: MLPs, such as "image_encoder/mlp.2".
        goal: What groups do not differ in.
        token: Number of the token of each row that means are taken of, where a pooled embedding reads one
            alone: 0 for the class token of CLIP's photos, -1 for the last of its texts. If not given, means
            are of all tokens.
        ridge: Share of the mean diagonal of C that is added to its diagonal.
        control: "random-key": the same is written for a random key of the same length; "random-layers":
            other layers of the same encoder are edited; "" for neither.
        draw: Seed of the random layers.

    Raises:
        BadStudy: if a setting is not allowed.
    """

    name: ClassVar[str] = "rank-one"

    sites: tuple[str, ...] = ()
    goal: Literal["map", "block"] = "block"
    token: int | None = None
    ridge: float = 0.01
    control: Literal["", "random-key", "random-layers"] = ""
    draw: int = 0

    def __post_init__(self) -> None:
        for field, allowed in (
            ("goal", ("map", "block")),
            ("control", ("", "random-key", "random-layers")),
        ):
            if getattr(self, field) not in allowed:
                expected = f"one of {', '.join(map(repr, allowed))}"
                raise BadStudy(f"rank-one.{field}", getattr(self, field), expected)
        if not self.ridge > 0:
            raise BadStudy("rank-one.ridge", self.ridge, "a positive number")

    def placebo(self) -> RankOneMitigation:
        """The same with a random key of the same length."""
        return replace(self, control="random-key")

    def learn(
        self, model: StagedModel, examples: Sequence[Example], rng: np.random.Generator
    ) -> Learned:
        """The updates, each fitted on what the earlier ones left."""
        sites = [str(point.site) for point in self.sites_in(model)]
        maps = output_maps(model, sites)
        groups, _ = groups_of(examples)
        tensors: dict[str, Tensor] = {}
        notes: dict[str, Any] = {}
        names = [name for one in maps for name in _parameters(one)]
        with in_turn(model), kept(model.net, names):
            for one in maps:
                before = {
                    name: model.net.get_parameter(name).detach().clone()
                    for name in _parameters(one)
                }
                cost = self._edit(model, one, examples, groups, rng)
                for name, old in before.items():
                    tensors[name] = model.net.get_parameter(name).detach() - old
                notes[str(one.site)] = {"cost": round(cost, 6)}
        return Learned(tensors, notes)

    @torch.no_grad()
    def _edit(
        self,
        model: StagedModel,
        one: OutputMap,
        examples: Sequence[Example],
        groups: Any,
        rng: np.random.Generator,
    ) -> float:
        """Edit one map in place; its cost."""
        read = partial(_read, model, one, examples, groups, self.token)
        keys = read("neuron")
        goals = -keys.effects @ one.weight.double().cpu().T
        if self.goal == "block":
            goals = -read("resid").effects
        metric = keys.covariance
        metric += (
            self.ridge * metric.diagonal().mean() * torch.eye(len(metric), dtype=torch.float64)
        )
        change = torch.zeros_like(one.weight, dtype=torch.float64, device="cpu")
        for key, goal in _apart(keys.effects, goals, metric):
            if self.control == "random-key":
                drawn = torch.from_numpy(rng.standard_normal(len(key)))
                key = drawn / drawn.norm() * key.norm()
            change += rank_one_update(one.weight.cpu(), goal, key, metric).matrix
        cost = float(change.norm() / one.weight.double().norm())
        bias = getattr(one.module, "bias", None)
        if bias is not None:
            bias -= (change @ keys.mean).to(bias)
        one.weight.add_(change.to(one.weight))
        return cost


@dataclass(frozen=True, eq=False)
class _Keys:
    """Means over rows at one site.

    Args:
        effects: Of the groups, [groups, D].
        mean: Of all tokens, [D].
        covariance: Of all tokens, [D, D].
    """

    effects: Tensor
    mean: Tensor
    covariance: Tensor


def _read(
    model: StagedModel,
    one: OutputMap,
    examples: Sequence[Example],
    groups: Any,
    token: int | None,
    port: str,
) -> _Keys:
    point = site_points(model, [f"{one.site.stage}/{port}.{one.site.layer}"])[0]
    rows: list[Tensor] = []
    owners: list[int] = []
    total: Any = 0.0
    squares: Any = 0.0
    count = 0
    for (values,) in activations_at_all(model, [point], examples):
        tokens = values.tokens[0].double().cpu()
        total, squares = total + tokens.sum(0), squares + tokens.T @ tokens
        count += len(tokens)
        rows.append((values.means if token is None else values.at(token)).double().cpu())
        owners += values.examples
    mean = torch.as_tensor(total) / count
    covariance = torch.as_tensor(squares) / count - torch.outer(mean, mean)
    effects = group_effects(
        torch.cat(rows).numpy(), groups[owners], [examples[number] for number in owners]
    )
    return _Keys(torch.from_numpy(effects), mean, covariance)


def _apart(keys: Tensor, goals: Tensor, metric: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Keys of groups against the first, none of which reads another through C⁻¹, and their goals."""
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for number in range(1, len(keys)):
        key, goal = keys[number] - keys[0], goals[number] - goals[0]
        for earlier, its_goal, whitened in found:
            share = (whitened @ key) / (whitened @ earlier)
            key, goal = key - share * earlier, goal - share * its_goal
        found.append((key, goal, torch.linalg.solve(metric, key)))
    return [(key, goal) for key, goal, _ in found]


def _parameters(one: OutputMap) -> list[str]:
    bias = getattr(one.module, "bias", None)
    return [one.name] if bias is None else [one.name, f"{one.path}.bias"]
