"""Texts that recur are read once, and examples that were not announced are refused."""

from __future__ import annotations

import pytest
import tiny_photos
from engine_runs import BOTH, TRACED, Load, rows_through, run
from torch import nn

from vlbias.causal.engine import Engine, altered_channels
from vlbias.causal.example import Example
from vlbias.causal.site import Mediator
from vlbias.causal.staged_model import StagedModel, resolve
from vlbias.errors import BadData


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
