from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import tiny_photos
import torch
from test_engine import ADAPTERS, BOTH, NONE, TEXT, Load, examples_of, run, score
from torch import nn

from vlbias.causal.engine import Engine, altered_channels
from vlbias.causal.example import Example
from vlbias.causal.site import Mediator
from vlbias.causal.staged import Batch, StagedModel, Tower, resolve
from vlbias.causal.sweep import SweepPlan
from vlbias.errors import BadData, BadStudy, StageCallError

TRACED = 5  # rows: a tower is traced once on two and once on three rows


def batch_of(model: StagedModel, tower: Tower, n: int = 3) -> Batch:
    base, cf = tiny_photos.sides(n)
    rows = [
        row for side in (base, cf) for example in side for row in model.split(example)[tower.name]
    ]
    return model.collate(tower.name, rows)


@contextmanager
def rows_through(module: nn.Module) -> Iterator[list[int]]:
    """How many rows each executed call of the module's children's parameters saw."""
    seen: list[int] = []
    handle = module.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(next(iter([*args, *kwargs.values()])).shape[0]),
        with_kwargs=True,
    )
    try:
        yield seen
    finally:
        handle.remove()


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


def texts_encoded(model: StagedModel, examples: list[Example], mediators: list[Mediator]) -> int:
    tower = model.towers[1]
    first = model.net.get_submodule(tower.stages[0].blocks[0])
    with rows_through(next(m for m in first.modules() if isinstance(m, nn.LayerNorm))) as seen:
        engine = Engine(
            model, [BOTH], mediators, altered=altered_channels(examples, [BOTH])
        )  # fmt: skip
        assert engine.share(examples) == ("text_encoder",)
        for start in range(0, len(examples), 4):
            list(engine.run(examples[start : start + 4]))
    return sum(seen)


def prompted(n: int) -> list[Example]:
    """Photos of their own with class prompts that recur: 2 words x 3 classes."""
    images = tiny_photos.pictures(2 * n)

    def prompts(who: str) -> tuple[str, ...]:
        return tuple(f"a photo of a {who} with a {thing}" for thing in ("cup", "dog", "umbrella"))

    return [
        Example(
            str(i),
            str(i),
            {
                "null": {"image": images[i], "text": prompts(("man", "woman")[i % 2])},
                "both": {"image": images[n + i], "text": prompts("person")},
            },
        )
        for i in range(n)
    ]


@pytest.mark.parametrize("name", ["dinov2-bert", "openclip"])
def test_the_text_tower_runs_once_per_distinct_text(load: Load, name: str) -> None:
    model = load(name)
    mediators = resolve(model, ["image_encoder/mlp.*"])
    distinct = 9  # man, woman, person with each of three things
    for photos in (8, 16):
        assert texts_encoded(model, prompted(photos), mediators) == distinct + TRACED


def test_shared_texts_give_what_single_examples_give(load: Load) -> None:
    model = load("dinov2-bert")
    examples = prompted(8)
    mediators = resolve(model, ["text_encoder/mlp.*", "image_encoder/attn.0", "text_encoder"])
    engine = Engine(model, [BOTH], mediators, altered=altered_channels(examples, [BOTH]))
    engine.share(examples, batch_rows=4)
    shared = {(a.mediator, a.arm): a.readout["class_logits"] for a in engine.run(examples)}
    for i in (0, 5):
        for key, arm in run(model, [BOTH], mediators, [examples[i]]).items():
            gap = (shared[key[1:]][i] - arm.readout["class_logits"][0]).abs().max()
            assert float(gap) <= 1e-5, key


def test_examples_that_were_not_shared_are_refused(load: Load) -> None:
    model = load("dinov2-bert")
    examples = prompted(8)
    engine = Engine(model, [BOTH], [], altered=altered_channels(examples, [BOTH]))
    engine.share(examples)
    strange = Example("new", "new", {**examples[0].worlds, "both": {**examples[0].worlds["both"],
                      "text": ("a horse", "a cup", "a dog")}})  # fmt: skip
    with pytest.raises(BadData, match="a horse"):
        list(engine.run([strange]))
    assert len(list(engine.run(examples[:2]))) == 2


def misaligned_examples() -> list[Example]:
    images = tiny_photos.pictures(4)
    return [
        Example(str(i), str(i), {"null": {"image": images[i], "text": text},
                                 "both": {"image": images[2 + i], "text": other}})
        for i, (text, other) in enumerate(
            [("a man on the street", "a very big person on the street"),
             ("a man on the street", "a person on the street")]
        )
    ]  # fmt: skip


@pytest.mark.parametrize("name", ADAPTERS)
def test_texts_of_unequal_length_are_skipped_inside_and_kept_whole(load: Load, name: str) -> None:
    model = load(name)
    inside = (
        "text_encoder/attn.1",
        "text_encoder/mlp.0",
        "image_encoder/attn.0+text_encoder/mlp.0",
    )
    outside = ("text_encoder", "image_encoder/mlp.1", "image_encoder+text_encoder")
    mediators = resolve(model, [*inside, *outside])
    both = misaligned_examples()
    for examples in (both, both[:1]):
        arms = run(model, [BOTH], mediators, examples)
        for arm in ("01", "10"):
            for mediator in inside:
                found = arms[BOTH, mediator, arm]
                assert found.misaligned.tolist() == [True, False][: len(examples)]
                assert torch.equal(found.readout["score"].isnan(), found.misaligned)
            for mediator in outside:
                found = arms[BOTH, mediator, arm]
                assert not found.misaligned.any()
                assert not found.readout["score"].isnan().any()
        whole = score(arms, BOTH, "image_encoder+text_encoder", "01")
        assert torch.equal(whole, score(arms, BOTH, "", "11"))


def test_photos_of_unequal_shape_are_skipped_inside_siglip2(load: Load) -> None:
    wide, tall = (
        tiny_photos.pictures(1, size=(60, 20))[0],
        tiny_photos.pictures(1, size=(20, 60))[0],
    )
    text = {"text": "a man"}
    example = Example("0", "0", {"null": {"image": wide, **text}, "both": {"image": tall, **text}})
    model = load("siglip2")
    arms = run(model, [BOTH], resolve(model, ["image_encoder/attn.0", "image_encoder"]), [example])
    assert arms[BOTH, "image_encoder/attn.0", "01"].misaligned.tolist() == [True]
    assert torch.equal(score(arms, BOTH, "image_encoder", "01"), score(arms, BOTH, "", "11"))


@pytest.mark.parametrize("site", ["text_encoder/attn.0@9", "text_encoder/attn.0@-9"])
def test_a_position_that_a_text_lacks_is_refused(load: Load, site: str) -> None:
    """Though the longest text of the batch has it: results would depend on the neighbours."""
    model = load("dinov2-bert")
    with pytest.raises(BadStudy) as caught:
        run(model, [BOTH], resolve(model, [site]), examples_of(2))
    assert caught.value.given == site


@pytest.mark.parametrize("name", [*ADAPTERS, "toy"])
@pytest.mark.parametrize("problem", [None, RuntimeError, KeyboardInterrupt])
def test_the_net_is_left_as_found(
    load: Load, name: str, problem: type[BaseException] | None
) -> None:
    from test_engine import mediators_of, toy_examples

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
    from vlbias.causal.staged import Stage
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
    from vlbias.causal.staged import Port, Stage
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
