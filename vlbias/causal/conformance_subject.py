"""A model that is put through the conformance checks, with the examples it is checked on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Arm, Engine, altered_channels
from vlbias.causal.example import Example
from vlbias.causal.site import Mediator, Site
from vlbias.causal.staged_model import Readout, StagedModel, Tower

__all__ = ["Subject", "Verdict", "largest_gap", "site_chunks"]

Verdict = tuple[bool, str]
"""Whether a check held, and the numbers it rests on."""
_TOGETHER = 8
"""Sites that are tested in one pass."""


@dataclass(frozen=True)
class Subject:
    """A model, and examples with the worlds "base", "cf", and "cf-CHANNEL" for every channel.

    Args:
        model: The model with its weights.
        examples: At least one.
        tolerance: Relative to the largest outcome.
        advance: Hears how many steps were done.
    """

    model: StagedModel
    examples: Sequence[Example]
    tolerance: float
    advance: Callable[[int], None] = lambda steps: None

    @property
    def channels(self) -> list[str]:
        """Of the examples' inputs, sorted."""
        return sorted(self.examples[0].worlds["base"])

    def arms(
        self, mediators: Sequence[Mediator], cf: str = "cf", *, shortcut: bool = False
    ) -> dict[tuple[str, str], Arm]:
        """Mediator and arm to the potential outcomes; without any of the engine's short cuts."""
        contrasts = [Contrast("base", cf)]
        engine = Engine(
            self.model, contrasts, mediators, altered=altered_channels(self.examples, contrasts)
        )
        for plan in engine.plans.values():
            plan.shortcut = plan.narrow = plan.lazy = shortcut
        return {(arm.mediator, arm.arm): arm for arm in engine.run(self.examples)}

    def batches(self) -> Iterator[tuple[Tower, dict[str, Tensor]]]:
        """Each tower with one batch: the rows of all examples in the base world, then in the other."""
        for tower in self.model.towers:
            rows = [
                row
                for world in ("base", "cf")
                for example in self.examples
                for row in self.model.split(example.worlds[world])[tower.name]
            ]
            yield tower, self.model.collate(tower.name, rows)


def largest_gap(one: Readout, other: Readout) -> float:
    """Largest difference of two readouts, relative to the largest number of the first."""
    worst = 0.0
    for key in one:
        scale = max(float(one[key].abs().max()), 1.0)
        worst = max(worst, float((one[key] - other[key]).abs().max()) / scale)
    return worst


def site_chunks(model: StagedModel, tower: Tower) -> list[list[Site]]:
    """Every stage; of every port the first, a middle and the last layer, whole or its first unit.

    A few at a time, so that a large model's check can say how far it is.
    """
    sites = [Site(stage.name) for stage in tower.stages]
    inside = {stage.name for stage in tower.stages}
    for port in model.ports:
        if port.stage not in inside:
            continue
        layers = [None] if port.layers is None else sorted({0, port.layers // 2, port.layers - 1})
        for layer in layers:
            units = (0,) if port.units or port.name == "neuron" else None
            sites.append(Site(port.stage, port.name, layer, units))
    return [sites[i : i + _TOGETHER] for i in range(0, len(sites), _TOGETHER)]
