"""The engine against one hooked forward pass per number, and effects that are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from engine_runs import (
    ADAPTERS,
    BOTH,
    IMAGE,
    NONE,
    TEXT,
    Load,
    examples_of,
    mediators_of,
    run,
    score,
    toy_examples,
)
from naive import naive_arms

from vlbias.analysis.mean_effects import EFFECTS
from vlbias.api import effects, potential_outcomes
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine, altered_channels
from vlbias.causal.site import Mediator
from vlbias.causal.staged_model import StagedModel, resolve
from vlbias.errors import BadModel, BadStudy


def assert_naive(
    model: StagedModel, contrasts: list[Contrast], mediators: list[Mediator], tolerance: float
) -> None:
    examples = examples_of()
    arms = run(model, contrasts, mediators)
    checked = 0
    for contrast in contrasts:
        reached = {name for c, name, _ in arms if c == contrast}
        for mediator in mediators:
            for i, example in enumerate(examples if mediator.name in reached else ()):
                worlds = example.worlds[contrast.base], example.worlds[contrast.cf]
                for arm, readout in naive_arms(model, *worlds, mediator).items():
                    found = score(arms, contrast, mediator.name, arm)[i]
                    expected = readout["class_logits"][0]
                    worst = float((found - expected).abs().max())
                    assert worst <= tolerance, (contrast.name, mediator.name, arm, worst)
                    checked += 1
    assert checked >= 4 * len(mediators)


@pytest.mark.integration
@pytest.mark.parametrize("name", ADAPTERS)
def test_engine_equals_one_hook_per_forward(load: Load, name: str) -> None:
    model = load(name)
    every = 1 if name in ("dinov2-bert", "clip", "openclip") else 3
    assert_naive(model, [BOTH], mediators_of(model)[::every], 1e-5)


def test_engine_equals_one_hook_per_forward_where_one_channel_changes(load: Load) -> None:
    model = load("dinov2-bert")
    assert_naive(model, [IMAGE, TEXT], mediators_of(model)[::4], 1e-5)


@pytest.mark.integration
def test_in_float64_the_engine_agrees_to_the_last_digits(
    model_folder: Callable[[str], Any],
) -> None:
    from vlbias.models import load_model

    model = load_model(str(model_folder("clip-roberta")))
    model.net.double()
    assert_naive(model, [BOTH], mediators_of(model)[::3], 1e-11)


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_mediator_that_sees_no_change_has_no_effect_and_is_left_out(
    load: Load, name: str
) -> None:
    model = load(name)
    mediator = Mediator.of(["text_encoder/mlp.0"])
    assert (IMAGE, mediator.name, "01") not in run(model, [IMAGE], [mediator])
    for example in examples_of():
        arms = naive_arms(model, example.worlds["null"], example.worlds["image"], mediator)
        assert torch.equal(arms["01"]["score"], arms["00"]["score"])
        assert torch.equal(arms["10"]["score"], arms["11"]["score"])


@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.parametrize("tower", ["image", "text"])
def test_all_blocks_together_are_the_tower_s_input(load: Load, name: str, tower: str) -> None:
    model = load(name)
    stage = f"{tower}_encoder"
    blocks = Mediator.of(resolve_sites(model, f"{stage}/resid.*"), "blocks")
    examples = examples_of(3)
    contrast = IMAGE if tower == "image" else TEXT
    for shortcut in (True, False):
        engine = Engine(
            model,
            [BOTH, contrast],
            [blocks],
            altered=altered_channels(examples, [BOTH, contrast]),
        )
        for plan in engine.plans.values():
            plan.shortcut, plan.narrow = shortcut, False
        found = {(a.contrast, a.mediator, a.arm): a for a in engine.run(examples)}
        swapped, input_swapped = (
            score(found, BOTH, "blocks", "01"), score(found, contrast, "", "11")
        )  # fmt: skip
        assert torch.equal(swapped, input_swapped)
        assert not torch.equal(swapped, score(found, BOTH, "", "00"))


def resolve_sites(model: StagedModel, pattern: str) -> list[str]:
    return [mediator.name for mediator in resolve(model, [pattern])]


def test_joined_patterns_are_replaced_together_layer_by_layer(load: Load) -> None:
    model = load(ADAPTERS[0])
    singles = {part: resolve_sites(model, f"image_encoder/{part}.*") for part in ("attn", "mlp")}
    joined = resolve_sites(model, "image_encoder/attn.*+image_encoder/mlp.*")
    assert joined == [f"{a}+{m}" for a, m in zip(*singles.values(), strict=True)]
    found = run(model, [IMAGE], resolve(model, [joined[0], *(one[0] for one in singles.values())]))
    together, *alone = (
        score(found, IMAGE, name, "01")
        for name in (joined[0], *(one[0] for one in singles.values()))
    )
    assert all(not torch.equal(together, one) for one in alone)
    with pytest.raises(BadStudy, match="as many layers and units in every part"):
        resolve(model, ["image_encoder/attn.*+image_encoder/mlp.0"])


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_contrast_of_a_world_with_itself_is_exactly_zero(load: Load, name: str) -> None:
    model = load(name)
    mediators = mediators_of(model)
    arms = run(model, [BOTH, NONE], mediators)
    for mediator in mediators:
        for arm in ("01", "10", "11"):
            one, other = score(arms, NONE, mediator.name, arm), score(arms, NONE, "", "00")
            assert torch.equal(one, other), mediator.name


@pytest.mark.parametrize("name", ["toy", "dinov2-bert"])
def test_total_is_direct_plus_indirect_plus_interaction(load: Load, name: str) -> None:
    model = load(name)
    examples, outcome, classes = examples_of(3), "match", ()
    mediators = ["image_encoder/attn.*", "text_encoder/head.*[*]", "image_encoder"]
    if name == "toy":
        examples, outcome = toy_examples(), "presence"
        classes, mediators = tuple(map(str, range(12))), ["image_encoder/neuron[*]", "text_encoder"]
    frame = potential_outcomes(model, examples, mediators, [outcome], classes=classes)
    table = effects(frame, n_boot=2).pivot_table(
        index=["mediator", "target"], columns="effect", values="estimate"
    )
    inner = table.drop(index="", level="mediator", errors="ignore")
    total = frame[frame["mediator"] == ""].pivot_table(
        index="target", columns="arm", values="value"
    )
    for (mediator, target), row in inner.iterrows():
        assert abs(row["TE"] - row["NDE"] - row["NIE"] - row["INT"]) < 1e-9, mediator
        expected = total.loc[target, "11"] - total.loc[target, "00"]
        assert row["TE"] == pytest.approx(expected, abs=1e-9)
    assert set(EFFECTS) == set(table.columns)


@pytest.mark.parametrize("name", ["dinov2-bert", "siglip2", "openclip"])
def test_results_do_not_depend_on_how_mediators_are_batched(load: Load, name: str) -> None:
    model = load(name)
    mediators = mediators_of(model)[::4]
    tables = [run(model, [BOTH], mediators, mediator_batch=size) for size in (1, 3, 64)]
    for key, arm in tables[0].items():
        for other in tables[1:]:
            gap = (arm.readout["score"] - other[key].readout["score"]).abs().max()
            assert float(gap) <= 1e-5, key


def test_results_do_not_depend_on_neighbours_in_the_batch(load: Load) -> None:
    """Texts of several lengths are padded to the longest: positions count from each text's own end."""
    model = load("dinov2-bert")
    examples = examples_of(3)
    mediators = [mediator for mediator in mediators_of(model) if "@" in mediator.name]
    together = run(model, [BOTH], mediators, examples)
    for i, example in enumerate(examples):
        alone = run(model, [BOTH], mediators, [example])
        for key, arm in alone.items():
            gap = (arm.readout["score"][0] - together[key].readout["score"][i]).abs()
            assert float(gap) <= 1e-5, key


@pytest.mark.parametrize("name", ["clip", "dinov2-bert", "clip-roberta"])
def test_the_longest_text_a_model_takes(load: Load, name: str) -> None:
    """24 tokens, two of them special, in each of these models."""
    model = load(name)
    batch = model.collate("text_encoder", [" ".join(["."] * 22)])
    assert batch["length"].tolist() == [24]
    assert bool(model.encode("text_encoder", batch).isfinite().all())
    with pytest.raises(BadModel, match="more than 24 tokens"):
        model.collate("text_encoder", [" ".join(["."] * 23)])


@pytest.mark.parametrize("name", ["clip", "dinov2-bert", "vit-bert", "clip-roberta"])
def test_what_cannot_reach_the_outcome_has_no_effect(load: Load, name: str) -> None:
    """Behind the last attention, the first token alone is read."""
    model = load(name)
    stages = ["image_encoder"] if name == "clip" else ["image_encoder", "text_encoder"]
    sites = [f"{s}/{port}.2@1,3" for s in stages for port in ("attn", "mlp", "neuron", "head")]
    arms = run(model, [BOTH], resolve(model, [*sites, "image_encoder/attn.2"]))
    for site in sites:
        for arm, world in (("01", "00"), ("10", "11")):
            gap = score(arms, BOTH, site, arm) - score(arms, BOTH, "", world)
            assert float(gap.abs().max()) <= 1e-6, site  # rounding of another batch shape
    moved = score(arms, BOTH, "image_encoder/attn.2", "01")
    assert not torch.equal(moved, score(arms, BOTH, "", "00"))


@pytest.mark.parametrize("name", ["clip", "dinov2-bert", "vit-bert", "clip-roberta"])
def test_the_tail_on_one_token_is_the_tail(load: Load, name: str) -> None:
    model = load(name)
    assert any(stage.tail for tower in model.towers for stage in tower.stages)
    mediators, tables = mediators_of(model)[::2], []
    for narrow in (True, False):
        engine = Engine(model, [BOTH], mediators, altered=altered_channels(examples_of(), [BOTH]))
        for plan in engine.plans.values():
            plan.narrow = narrow
        tables.append({(a.mediator, a.arm): a.readout["score"] for a in engine.run(examples_of())})
    for key, narrowed in tables[0].items():
        assert float((narrowed - tables[1][key]).abs().max()) <= 1e-5, key


def test_a_contrast_without_mediators_gives_its_two_worlds(load: Load) -> None:
    model: Any = load("toy")
    mediators = resolve(model, ["image_encoder"])
    worlds = run(model, [BOTH], mediators, toy_examples(), unmediated=[BOTH])
    assert set(worlds) == {(BOTH, "", "00"), (BOTH, "", "11")}
    whole = run(model, [BOTH], mediators, toy_examples())
    for arm in ("00", "11"):
        assert torch.equal(score(worlds, BOTH, "", arm), score(whole, BOTH, "", arm))


def test_the_toy_s_effects_are_those_found_by_hand(load: Load) -> None:
    model: Any = load("toy")
    mediators = resolve(model, ["image_encoder", "text_encoder", "fusion_encoder"])
    arms = run(model, [BOTH], mediators, toy_examples())
    net = model.net
    u, v, w = net.fusion.image, net.fusion.text, net.fusion.both
    vectors = {
        world: {
            channel: torch.tensor([e.worlds[world][channel] for e in toy_examples()]).double()
            for channel in ("image", "text")
        }
        for world in ("null", "both")
    }
    h, h1 = (vectors[world]["image"] @ net.image.weight.T for world in ("null", "both"))
    k, k1 = (vectors[world]["text"] @ net.text.weight.T for world in ("null", "both"))
    y = {arm: score(arms, BOTH, "image_encoder", arm) for arm in ("00", "11", "01", "10")}
    hand = {
        "NIE": (h1 - h) @ u.T + ((h1 - h) * k) @ w.T,
        "NDE": (k1 - k) @ v.T + (h * (k1 - k)) @ w.T,
        "INT": ((h1 - h) * (k1 - k)) @ w.T,
    }
    hand["TE"] = hand["NIE"] + hand["NDE"] + hand["INT"]
    for effect, expected in hand.items():
        found = sum(c * y[arm] for arm, c in EFFECTS[effect].items())
        assert torch.allclose(found, expected, rtol=0, atol=1e-9), effect
    text_nie = score(arms, BOTH, "text_encoder", "01") - y["00"]
    assert torch.allclose(text_nie, hand["NDE"], rtol=0, atol=1e-9)
    assert torch.equal(score(arms, BOTH, "fusion_encoder", "01"), y["11"])
    assert torch.equal(score(arms, BOTH, "fusion_encoder", "10"), y["00"])
