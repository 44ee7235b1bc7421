"""The network after a run, and after one that broke off, is the one before it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from engine_runs import (
    ADAPTERS,
    BOTH,
    NONE,
    TEXT,
    Load,
    examples_of,
    mediators_of,
    run,
    toy_examples,
)
from torch import nn

from vlbias.causal.staged_model import resolve


def state_of(net: nn.Module) -> list[tuple[str, Any]]:
    weights = [(key, tensor.clone()) for key, tensor in net.state_dict().items()]
    hooks = [
        (
            name,
            (dict(m._forward_hooks), dict(m._forward_pre_hooks), "forward" in vars(m), m.training),
        )
        for name, m in net.named_modules()
    ]
    return [*weights, *hooks]


def assert_same(one: list[tuple[str, Any]], other: list[tuple[str, Any]]) -> None:
    for (name, a), (_, b) in zip(one, other, strict=True):
        same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        assert same, f"{name} was left changed"


@pytest.mark.integration
@pytest.mark.parametrize("name", [*ADAPTERS, "toy"])
@pytest.mark.parametrize("problem", [None, RuntimeError, KeyboardInterrupt])
def test_the_net_is_left_as_found(
    load: Load, name: str, problem: type[BaseException] | None
) -> None:

    model = load(name)
    toy = name == "toy"
    examples = toy_examples() if toy else examples_of()
    patterns = ["image_encoder", "fusion_encoder", "image_encoder/neuron[1]"]
    mediators = resolve(model, patterns) if toy else mediators_of(model)[::4]
    before = state_of(model.net)
    run(model, [BOTH, NONE] if toy else [BOTH, TEXT], mediators, examples)
    assert_same(before, state_of(model.net))
    if problem is None:
        return
    interrupted = 0
    for tower in model.towers:
        module = model.net.get_submodule(tower.stages[-1].module)
        for calls in (0, 1, 2, 4):  # while tracing, recording, and resuming
            left = [calls]

            def stop(*_: Any, left: list[int] = left) -> None:
                left[0] -= 1
                if left[0] < 0:
                    raise problem("stop")

            inside = next((m for m in module.modules() if isinstance(m, nn.LayerNorm)), module)
            handle = inside.register_forward_hook(stop)
            found = state_of(model.net)
            try:
                run(model, [BOTH], mediators, examples)
            except problem:
                interrupted += 1
            assert_same(found, state_of(model.net))
            handle.remove()
    assert interrupted >= 3
    assert_same(before, state_of(model.net))
