"""A recorded pass gives a row back to the bit, and runs no block before a replacement."""

from __future__ import annotations

from typing import Any

import pytest
import tiny_photos
import torch
from engine_runs import ADAPTERS, TRACED, Load, rows_through
from torch import nn

from vlbias.causal.site import Mediator
from vlbias.causal.staged_model import Batch, StagedModel, Tower, resolve
from vlbias.causal.sweep import SweepPlan
from vlbias.errors import StageCallError


def batch_of(model: StagedModel, tower: Tower, n: int = 3) -> Batch:
    base, cf = tiny_photos.sides(n)
    rows = [
        row for side in (base, cf) for example in side for row in model.split(example)[tower.name]
    ]
    return model.collate(tower.name, rows)


@pytest.mark.parametrize("name", ADAPTERS)
def test_replaying_a_whole_stage_is_exact_to_the_bit(load: Load, name: str) -> None:
    model = load(name)
    for tower in model.towers:
        batch = batch_of(model, tower)
        mediators = [Mediator.of([tower.stages[-1].name])]
        plan = SweepPlan(model, tower, mediators, shortcut=False, lazy=False, narrow=False)
        pairs = [(0, 3), (3, 0), (2, 5), (1, 1)]
        sweep = plan.run(batch, pairs)
        with torch.inference_mode():
            assert torch.equal(sweep.encoded, model.encode(tower.name, batch))
        donors = sweep.encoded[[j for _, j in pairs]]
        assert torch.equal(sweep.patched[mediators[0].name], donors)


@pytest.mark.parametrize("name", ADAPTERS)
def test_resuming_anywhere_with_a_row_s_own_value_gives_the_row_back(load: Load, name: str) -> None:
    model = load(name)
    for tower in model.towers:
        stage = tower.stages[0].name
        ports = [
            f"{port.name}.*" if port.layers is not None else port.name
            for port in model.ports
            if port.stage == stage
        ]
        mediators = resolve(model, [f"{stage}/{port}" for port in ports])
        plan = SweepPlan(model, tower, mediators, shortcut=False, lazy=False, narrow=False)
        sweep = plan.run(batch_of(model, tower), [(i, i) for i in range(6)])
        for mediator, patched in sweep.patched.items():
            assert torch.equal(patched, sweep.encoded), mediator


@pytest.mark.parametrize("name", ADAPTERS)
def test_blocks_before_a_replacement_are_not_executed(load: Load, name: str) -> None:
    model = load(name)
    tower = model.towers[0]
    batch = batch_of(model, tower)
    blocks = [model.net.get_submodule(path) for path in tower.stages[0].blocks]
    plan = SweepPlan(model, tower, resolve(model, ["image_encoder/attn.1"]))
    pairs = [(0, 3), (3, 0), (1, 4)]
    seen_by = {}
    for part in ("attention", "mlp"):
        counts = []
        for block in blocks:
            linear = [m for m in block.modules() if type(m) is nn.Linear]
            with rows_through(linear[0 if part == "attention" else -1]) as seen:
                SweepPlan(model, tower, plan.mediators).run(batch, pairs)
            counts.append(sum(seen))
        seen_by[part] = counts
    full, jobs = TRACED + len(next(iter(batch.values()))), len(pairs)
    assert seen_by["mlp"] == [full, full + jobs, full + jobs]
    if name != "openclip":  # its attention is one call of torch
        assert seen_by["attention"] == [full, full, full + jobs]


class _Twice(nn.Module):
    """Calls its only layer as often as asked."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.layer, self.times = nn.Linear(2, 2), times

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(self.times):
            x = self.layer(x)
        return x


@pytest.mark.parametrize("times", [0, 2])
def test_a_stage_must_be_called_exactly_once(load: Load, times: int) -> None:
    from vlbias.causal.staged_model import Stage
    from vlbias.models.toy import Toy

    model: Any = Toy(channels=2)
    model.net = _Twice(times).double()
    model.towers = (Tower("model", ("image",), (Stage("image_encoder", "layer"),)),)
    model.encode = lambda tower, batch: model.net(batch["image"])
    plan = SweepPlan(model, model.towers[0], [Mediator.of(["image_encoder"])], shortcut=False)
    with pytest.raises(StageCallError) as caught:
        plan.run({"image": torch.zeros(2, 2, dtype=torch.float64)}, [(0, 1)])
    assert (caught.value.module, caught.value.times) == ("layer", times)


class _TokensFirst(nn.Module):
    """Runs its first layer on tokens that lie before rows, as sequence-first code does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.unflatten(1, (-1, 2)).transpose(0, 1)  # [T, R, 2]
        hidden = self.first(tokens).transpose(0, 1)
        return (self.second(hidden) + hidden).flatten(1)


def test_what_has_its_rows_on_another_axis_is_run_again() -> None:
    """Giving it back would hand every job the values of other rows."""
    from vlbias.causal.staged_model import Port, Stage
    from vlbias.models.toy import Toy

    torch.manual_seed(0)
    model: Any = Toy(channels=2)
    model.net = nn.Sequential(_TokensFirst()).double()
    model.towers = (Tower("model", ("image",), (Stage("image_encoder", "0"),)),)
    model.ports = (Port("image_encoder", "second", "0.second", "in", units=2),)
    model.encode = lambda tower, batch: model.net(batch["image"])
    batch = {"image": torch.randn(4, 6, dtype=torch.float64)}
    mediator, pairs = Mediator.of(["image_encoder/second[0]"]), [(3, 0), (1, 2), (2, 1), (0, 3)]
    plan = SweepPlan(model, model.towers[0], [mediator], lazy=False)
    found = plan.run(batch, pairs).patched[mediator.name]
    with torch.inference_mode():
        hidden = model.net[0].first(batch["image"].unflatten(1, (-1, 2)))
        for (own, donor), row in zip(pairs, found, strict=True):
            mixed = torch.stack([hidden[donor, :, 0], hidden[own, :, 1]], -1)
            torch.testing.assert_close(row, (model.net[0].second(mixed) + hidden[own]).flatten())
