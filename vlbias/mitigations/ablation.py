"""Mean-ablation of mediators: heads or branches always give their gender-balanced mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel
from vlbias.errors import BadModel, BadStudy
from vlbias.mitigations.activations import Activations, activations_at_all
from vlbias.mitigations.base import Learned, Mitigation, Need
from vlbias.mitigations.mitigated_model import MitigatedModel, revised
from vlbias.mitigations.sites import SitePoint, site_points, written_model
from vlbias.mitigations.sitewise import groups_of

__all__ = ["FoldedAblation", "MeanAblation", "matched_sites"]

Where = Literal["input", "features", "weights"]


def matched_sites(
    model: StagedModel, sites: Sequence[str], rng: np.random.Generator
) -> tuple[str, ...]:
    """As many units of the same ports and layers, drawn at random from those not among the sites.

    Where a layer has too few others, all of its units are drawn from.

    Args:
        model: The model.
        sites: Sites with units, such as "image_encoder/head.3[1]".
        rng: Draws them.

    Raises:
        BadStudy: if a site has no units: a whole branch has no match in its layer.
    """
    wanted: dict[tuple[str, str, int, tuple[Any, ...]], list[int]] = {}
    for point in site_points(model, sites):
        if point.site.units is None or point.units is None or point.site.port is None:
            raise BadStudy("sites", str(point.site), "single units, such as head.3[1], to match")
        layer = -1 if point.site.layer is None else point.site.layer
        key = (point.site.stage, point.site.port, layer, point.site.positions or ())
        wanted.setdefault(key, []).extend(point.site.units)
    drawn = []
    for (stage, port, layer, places), units in wanted.items():
        text = f"{stage}/{port}" + (f".{layer}" if layer >= 0 else "")
        count = site_points(model, [text])[0].units or 0
        others = sorted(set(range(count)) - set(units))
        pool = others if len(others) >= len(set(units)) else list(range(count))
        for unit in sorted(int(u) for u in rng.permutation(pool)[: len(set(units))]):
            drawn.append(f"{text}[{unit}]" + (f"@{','.join(places)}" if places else ""))
    return tuple(drawn)


@dataclass(frozen=True)
class MeanAblation(Mitigation):
    """Sites give, whatever goes in, their mean over the fit split; at strength s only a share s of it.

    The mean is that of the groups' means, so that neither group's own level is imposed on the other;
    within a group, of all tokens of all rows.

    Args:
        sites: As the effects rank them; `vlbias.mitigations.greedy_search` chooses a set.
        by_position: A mean for each position of the token axis; needs rows of equal length.
        control: Seed of a layer-matched random set that is ablated instead; none if not given.

    Raises:
        BadStudy: if a setting is not allowed.
    """

    name: ClassVar[str] = "mean-ablation"
    place: ClassVar[Where] = "features"
    needs: ClassVar[frozenset[Need]] = frozenset({"groups", "sites"})

    sites: tuple[str, ...] = ()
    by_position: bool = False
    control: int | None = None

    def placebo(self) -> MeanAblation:
        """A layer-matched random set of units."""
        return replace(self, control=0)

    def controls(self, count: int) -> tuple[MeanAblation, ...]:
        """So many layer-matched random sets; the first is the placebo."""
        return tuple(replace(self, control=seed) for seed in range(count))

    def sites_in(self, model: StagedModel) -> list[SitePoint]:
        """Its sites, or the random set that matches them."""
        sites = self.sites
        if self.control is not None:
            sites = matched_sites(model, sites, np.random.default_rng(self.control))
        found = site_points(model, sites)
        for point in found:
            if point.port is None:
                raise BadStudy(f"{self.name}.sites", str(point.site), "a port inside a stage")
        return found

    def learn(
        self, model: StagedModel, examples: Sequence[Example], rng: np.random.Generator
    ) -> Learned:
        """The mean at each site."""
        groups, names = groups_of(examples)
        tensors: dict[str, Tensor] = {}
        towers: dict[str, list[SitePoint]] = {}
        for point in self.sites_in(model):
            towers.setdefault(point.tower.name, []).append(point)
        for points in towers.values():
            sums = [_Sums(len(names)) for _ in points]
            for several in activations_at_all(model, points, examples):
                for point, values, one in zip(points, several, sums, strict=True):
                    self._add(one, point, values, groups)
            for point, one in zip(points, sums, strict=True):
                tensors[str(point.site)] = one.mean
        return Learned(tensors, {"sites": sorted(tensors)})

    def _add(self, sums: _Sums, point: SitePoint, values: Activations, groups: Any) -> None:
        x, owner = values.tokens
        if self.by_position:
            _refuse_uneven(point, values.tensor, values.own, sums.totals)
            x, owner = values.tensor, list(values.examples)
        mine = torch.tensor(groups[owner], device=x.device)
        for group in range(len(sums.counts)):
            sums.totals[group] = sums.totals[group] + x[mine == group].double().sum(0)
            sums.counts[group] += int((mine == group).sum())

    @contextmanager
    def patched(
        self, model: StagedModel, learned: Learned, strength: float
    ) -> Iterator[StagedModel]:
        """The model with the sites at their means."""
        points = site_points(model, tuple(learned.tensors))

        def ablated(point: SitePoint) -> Any:
            mean = learned.tensors[str(point.site)]

            def edit(x: Tensor) -> Tensor:
                if mean.ndim == 2 and (x.ndim != 3 or x.shape[1] != len(mean)):
                    raise BadModel(
                        f"{point.site}: means of {len(mean)} positions, the tokens are {tuple(x.shape)}; "
                        "fit without by_position"
                    )
                return torch.lerp(x, mean.to(x).expand_as(x), strength)

            return point.write(edit)

        revision = revised(model.revision, self.spec, learned.key, strength)
        with written_model(
            model, revision, [(point, ablated(point)) for point in points]
        ) as mitigated:
            yield mitigated


class _Sums:
    """Sums and numbers of tokens, group by group."""

    def __init__(self, groups: int) -> None:
        self.totals: list[Any] = [0.0] * groups
        self.counts = np.zeros(groups)

    @property
    def mean(self) -> Tensor:
        """The mean of the groups' means, [D], or [T, D] by position."""
        means = [total / count for total, count in zip(self.totals, self.counts, strict=True)]
        return torch.stack(means).mean(0).float().cpu()


def _refuse_uneven(point: SitePoint, tensor: Tensor, own: Tensor, sums: Sequence[Any]) -> None:
    before = next((len(total) for total in sums if isinstance(total, Tensor)), None)
    if tensor.ndim != 3 or not bool(own.all()) or before not in (None, tensor.shape[1]):
        raise BadStudy("mean-ablation.by_position", str(point.site), "rows of equally many tokens")


@dataclass(frozen=True)
class FoldedAblation(MeanAblation):
    """Mean-ablation folded into weights: nothing runs at all, and the model is an ordinary checkpoint.

    Of a head the columns of the out-projection are scaled by 1 - strength, and what its mean gives is
    added to the bias. Needs sites that are inputs or outputs of a linear map with a bias.
    """

    name: ClassVar[str] = "folded-ablation"
    place: ClassVar[Where] = "weights"

    def __post_init__(self) -> None:
        if self.by_position:
            raise BadStudy("folded-ablation.by_position", True, "false: a bias knows no position")

    def sites_in(self, model: StagedModel) -> list[SitePoint]:
        """Its sites, or the random set that matches them."""
        found = super().sites_in(model)
        for point in found:
            if point.site.positions is not None:
                raise BadStudy(
                    f"{self.name}.sites", str(point.site), "no span: weights know no tokens"
                )
        return found

    @contextmanager
    def patched(
        self, model: StagedModel, learned: Learned, strength: float
    ) -> Iterator[StagedModel]:
        """The model with changed weights; the parameters are the same objects, and are restored on exit."""
        with ExitStack() as stack:
            for point in site_points(model, tuple(learned.tensors)):
                mean = learned.tensors[str(point.site)]
                for parameter, value in _folded(model, point, mean, strength).items():
                    stack.callback(setattr, parameter, "data", parameter.data)
                    parameter.data = value
            revision = revised(model.revision, self.spec, learned.key, strength)
            yield MitigatedModel(model, revision)


@torch.no_grad()
def _folded(
    model: StagedModel, point: SitePoint, mean: Tensor, strength: float
) -> Mapping[nn.Parameter, Tensor]:
    """New weight and bias of the linear map at a site."""
    assert point.port is not None
    module: Any = model.net.get_submodule(point.path)
    transposed = type(module).__name__ == "Conv1D"
    if not (isinstance(module, nn.Linear) or transposed) or module.bias is None:
        raise BadStudy(
            "folded-ablation.sites",
            str(point.site),
            "the input or output of a linear map with a bias; take mean-ablation",
        )
    weight = (module.weight.T if transposed else module.weight).clone()  # [out, in]
    bias = module.bias.clone()
    own = point.channels(weight.shape[1 if point.port.slot == "in" else 0])
    at = slice(None) if own is None else own.to(weight.device)
    mean = mean.to(weight)
    if point.port.slot == "in":
        bias += strength * (weight[:, at] @ mean)
        weight[:, at] *= 1.0 - strength
    else:
        weight[at] *= 1.0 - strength
        bias[at] = torch.lerp(bias[at], mean, strength)
    return {module.weight: weight.T.contiguous() if transposed else weight, module.bias: bias}
