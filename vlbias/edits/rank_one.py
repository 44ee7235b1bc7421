"""Rank-one edits of one fact: ROME and r-ROME, at a layer that a rule chooses."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from vlbias.data.facts import Fact
from vlbias.edits.change import Change
from vlbias.edits.keys import KeyMoments
from vlbias.edits.solve import RankOneUpdate, update_along
from vlbias.edits.values import Target, ValueSearch, find_targets
from vlbias.edits.weights import OutputMap, editable_maps
from vlbias.errors import BadStudy

__all__ = ["Context", "RankOne", "change_of", "update_of"]

Rule = Literal["fixed", "random", "smallest-cost", "traced"]


@dataclass(frozen=True, eq=False)
class Context:
    """What edits of facts need beside the model.

    Args:
        moments: Second moments of keys, of the unedited model.
        prefixes: Texts that may stand before a prompt.
    """

    moments: KeyMoments
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RankOne:
    """ROME (Meng et al. 2022) and r-ROME (Gupta et al. 2024).

    Args:
        sites: MLPs that may be edited, such as "lm/mlp.5" or "lm/mlp.*", of which the last is left out.
        rule: Which of them is: "fixed", the only one; "random"; "smallest-cost", where the update is smallest
            against the weight (WilKE, Hu et al. 2024); "traced", where `effects` are largest.
        keys: "one": the mean key over prefixes throughout (r-ROME). "mixed": as in the published code of
            ROME, the direction from the mean key and the division by the key without prefix.
        ridge: Share of the mean diagonal of the second moments that is added to their diagonal.
        effects: Effect of each site, for the rule "traced".
        search: Of the value.
    """

    name: ClassVar[str] = "rank-one"
    sites: tuple[str, ...]
    rule: Rule = "fixed"
    keys: Literal["mixed", "one"] = "one"
    ridge: float = 0.0
    effects: tuple[float, ...] = ()
    search: ValueSearch = field(default_factory=ValueSearch)

    @property
    def spec(self) -> dict[str, Any]:
        """All settings, as JSON."""
        return {"name": self.name, **dataclasses.asdict(self)}

    def maps(self, model: Any) -> list[OutputMap]:
        """The maps that may be edited.

        Raises:
            UnknownName: if a site does not exist, with suggestions.
            BadStudy: if a site is no MLP, or there are not as many as the rule needs.
        """
        maps = editable_maps(model, self.sites)
        if self.rule == "fixed" and len(maps) != 1:
            raise BadStudy("sites", self.sites, f"one MLP for the rule 'fixed', not {len(maps)}")
        if self.rule == "traced" and len(self.effects) != len(maps):
            raise BadStudy("effects", self.effects, f"one for each of the {len(maps)} sites")
        return maps

    def fit(
        self, model: Any, fact: Fact, answer: str, context: Context, *, rng: np.random.Generator
    ) -> Change:
        """The edit that lets an answer follow the prompt of a fact; the model is left as it is.

        Args:
            model: A causal language model, edited before or not.
            fact: Its prompt and subject.
            answer: What should follow.
            context: Moments and prefixes.
            rng: For the rule "random".

        Returns:
            The new weight of one map; notes name its site, the cost of each site that was tried, the loss
            and the seconds.
        """
        began = time.monotonic()
        maps = self.maps(model)
        if self.rule == "random":
            maps = [maps[int(rng.integers(len(maps)))]]
        elif self.rule == "traced":
            maps = [maps[int(np.argmax(self.effects))]]
        targets = find_targets(model, maps, fact, answer, context.prefixes, self.search)
        updates = [
            update_of(one, target, context.moments, self.ridge, self.keys)
            for one, target in zip(maps, targets, strict=True)
        ]
        best = int(np.argmin([update.cost for update in updates]))
        notes = {
            "method": self.spec,
            "site": str(maps[best].site),
            "cost": updates[best].cost,
            "costs": {str(m.site): u.cost for m, u in zip(maps, updates, strict=True)},
            "loss": targets[best].loss,
            "search_steps": targets[best].steps,
            "seconds": time.monotonic() - began,
        }
        return change_of(maps[best], updates[best], notes)


def update_of(
    one: OutputMap,
    target: Target,
    moments: KeyMoments,
    ridge: float,
    keys: Literal["mixed", "one"],
) -> RankOneUpdate:
    """The update that gives a map its target.

    Args:
        one: The map.
        target: What was found for it.
        moments: Of its keys.
        ridge: See `RankOne`.
        keys: See there.

    Raises:
        BadData: if the moments cannot be inverted; says the rank.
    """
    whitened = moments.whitened(one.path, ridge, target.mean_key)
    if keys == "mixed":
        # without a prefix the map gives `value`, so that only `delta` is missing
        return update_along(one.weight, target.delta, target.keys[0], whitened)
    key = target.mean_key.double()
    bias = getattr(one.module, "bias", None)
    now = one.weight.double() @ key + (0.0 if bias is None else bias.detach().double())
    goal = target.value.double() + target.delta.double()
    return update_along(one.weight, goal - now, key, whitened)


def change_of(one: OutputMap, update: RankOneUpdate, notes: dict[str, Any]) -> Change:
    """The change that an update of a map is."""
    new = (one.weight.double() + update.matrix).to(one.weight.dtype)
    return Change({one.name: (new.T if one.is_turned else new).contiguous()}, notes)
