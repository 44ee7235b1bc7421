"""Arms of a detector, or of any model, by the engine: one example in two worlds."""

from __future__ import annotations

from typing import Any

from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine, altered_channels
from vlbias.causal.example import Example, Inputs
from vlbias.causal.site import Mediator


def run(model: Any, worlds: dict[str, Inputs], mediators: list[Mediator]) -> dict[Any, Any]:
    examples, contrast = [Example("0", "0", worlds)], Contrast("null", "both")
    altered = altered_channels(examples, [contrast])
    engine = Engine(model, [contrast], mediators, altered=altered)
    return {(arm.mediator, arm.arm): arm.readout for arm in engine.run(examples)}
