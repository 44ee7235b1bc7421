"""MEMIT (Meng et al. 2023): many facts at once, the change spread over several layers."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from vlbias.data.facts import Fact
from vlbias.edits.change import Change, kept
from vlbias.edits.keys import completion, record_maps
from vlbias.edits.rank_one import Context
from vlbias.edits.solve import least_squares_update
from vlbias.edits.values import ValueSearch, find_targets
from vlbias.edits.weights import OutputMap, editable_maps
from vlbias.errors import BadStudy

__all__ = ["Memit"]


@dataclass(frozen=True)
class Memit:
    """Settings of MEMIT.

    Args:
        sites: MLPs in the order of depth, two or more; the target is set behind the last.
        weight: λ, of the second moments against the keys of the edit.
        ridge: Share of the mean diagonal of the second moments that is added to their diagonal.
        search: Of the value; the published reach is 0.75.
    """

    name: ClassVar[str] = "memit"
    sites: tuple[str, ...]
    weight: float = 15000.0
    ridge: float = 0.0
    search: ValueSearch = field(default_factory=lambda: ValueSearch(reach=0.75))

    @property
    def spec(self) -> dict[str, Any]:
        """All settings, as JSON."""
        return {"name": self.name, **dataclasses.asdict(self)}

    def maps(self, model: Any) -> list[OutputMap]:
        """The maps that are edited.

        Raises:
            UnknownName: if a site does not exist, with suggestions.
            BadStudy: if a site is no MLP, there is only one, or they are not in the order of depth.
        """
        maps = editable_maps(model, self.sites)
        layers = [one.site.layer or 0 for one in maps]
        if len(maps) < 2 or layers != sorted(set(layers)):
            raise BadStudy("sites", self.sites, "two MLPs or more, in the order of depth")
        return maps

    def fit(self, model: Any, wanted: Sequence[tuple[Fact, str]], context: Context) -> Change:
        """The edit that lets answers follow the prompts of facts; the model is left as it is.

        Args:
            model: A causal language model.
            wanted: Facts with the answers that should follow.
            context: Moments and prefixes.

        Returns:
            The new weights of all maps; notes tell the cost of each and the seconds.

        Raises:
            BadData: if the moments with the keys of the edit cannot be inverted; says the rank.
        """
        began = time.monotonic()
        maps = self.maps(model)
        metrics = {one.path: self._metric(one.path, len(wanted), context) for one in maps}
        last = maps[-1]
        targets = [
            find_targets(model, [last], fact, answer, context.prefixes, self.search)[0]
            for fact, answer in wanted
        ]
        before = self._keys_and_blocks(model, maps, wanted, context)[1]
        goal = before + torch.stack([target.delta for target in targets])
        costs: dict[str, float] = {}
        with kept(model.net, [one.name for one in maps]):
            for number, one in enumerate(maps):
                keys, blocks = self._keys_and_blocks(model, maps, wanted, context)
                share = (goal - blocks) / (len(maps) - number)
                update = least_squares_update(
                    share.T, keys[one.path].T, metrics[one.path], self.weight
                )
                costs[str(one.site)] = float(update.norm() / one.weight.norm())
                one.weight.add_(update)
            values = {one.name: model.net.get_parameter(one.name).detach().clone() for one in maps}
        notes = {
            "method": self.spec,
            "site": "+".join(str(one.site) for one in maps),
            "cost": max(costs.values()),
            "costs": costs,
            "loss": sum(target.loss for target in targets) / len(targets),
            "search_steps": max(target.steps for target in targets),
            "seconds": time.monotonic() - began,
        }
        return Change(values, notes)

    def _metric(self, path: str, edits: int, context: Context) -> Tensor:
        """Second moments of a map, which the keys of the edits may complete."""
        if self.ridge:
            return context.moments.with_ridge(path, self.ridge)
        context.moments.refuse_few(path, edits)
        return context.moments.moments[path]

    def _keys_and_blocks(
        self,
        model: Any,
        maps: Sequence[OutputMap],
        wanted: Sequence[tuple[Fact, str]],
        context: Context,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Mean key over prefixes of each map, [facts, in], and what the last block gives, [facts, width]."""
        keys: dict[str, list[Tensor]] = {one.path: [] for one in maps}
        blocks = []
        for fact, answer in wanted:
            texts = [completion(fact, answer, prefix) for prefix in ("", *context.prefixes)]
            seen = record_maps(model, maps, texts)
            for one in maps:
                keys[one.path].append(seen[one.path].keys.mean(0))
            blocks.append(seen[maps[-1].path].block[0])
        return {path: torch.stack(some) for path, some in keys.items()}, torch.stack(blocks)
