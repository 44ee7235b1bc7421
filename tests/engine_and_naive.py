"""The engine's arms of a model, each compared with whole forward passes of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from naive import naive_arms

from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Arm, Engine, altered_channels
from vlbias.causal.example import Example, Inputs
from vlbias.causal.site import Mediator


def compared_arms(
    model: Any,
    base: Sequence[Inputs],
    cf: Sequence[Inputs],
    mediators: Sequence[Mediator],
    cuts: Collection[str],
) -> dict[tuple[str, str], Arm]:
    """Mediator and arm to what the engine gives, once cuts and every readout are as they must be."""
    examples = [
        Example(str(i), str(i), {"null": a, "both": b})
        for i, (a, b) in enumerate(zip(base, cf, strict=True))
    ]
    contrast = Contrast("null", "both")
    altered = altered_channels(examples, [contrast])
    engine = Engine(model, [contrast], mediators, altered=altered)
    arms = {(arm.mediator, arm.arm): arm for arm in engine.run(examples)}
    assert engine.cuts() == set(cuts)
    for mediator in mediators:
        for i, example in enumerate(examples):
            worlds = example.worlds["null"], example.worlds["both"]
            for arm, expected in naive_arms(model, *worlds, mediator).items():
                found = arms["" if arm in ("00", "11") else mediator.name, arm].readout
                for key, value in expected.items():
                    torch.testing.assert_close(found[key][i], value[0], atol=1e-4, rtol=1e-4)
    return arms
