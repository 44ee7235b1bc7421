"""Photos of five sizes and texts of three lengths through every adapter: no number hangs on neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_detectors import DETECTORS
from tiny_language import CAUSAL, MASKED
from tiny_models import HF
from tiny_photos import CLASSES

from vlbias.causal.cloze import Cloze
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine, altered_channels
from vlbias.causal.example import Example, GroundedText, Picture
from vlbias.causal.staged_model import StagedModel, resolve

pytestmark = pytest.mark.integration

BOTH = Contrast("null", "both")
SIZES = ((64, 48), (48, 96), (40, 40), (90, 30), (70, 70))
PHRASES = ("a {}. ", "a photo of a {}. ", "a photo of a {} with a dog and a cup. ")
STORIES = ("The {}", "The {} said that", "The doctor told the {} that the clerk was tired because")
Row = tuple[int, int]
"""Which size, and which length of text."""
Numbers = dict[tuple[str, str, str], torch.Tensor]
"""Mediator, arm and part of the readout to the value of one example."""


def photo_example(model: StagedModel, row: Row, number: int) -> Example:
    size, text = SIZES[row[0]], PHRASES[row[1]]
    reads_lists = any(t.channels == ("image", "text") for t in model.towers)
    worlds: dict[str, Any] = {}
    for k, who in enumerate(("man", "person")):
        rng = np.random.default_rng(10 * row[0] + k)
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        phrase = text.format(who)
        asked = tuple(f"{phrase}{name}" for name in CLASSES)
        worlds[("null", "both")[k]] = {
            "image": Picture(Image.fromarray(pixels)),
            "text": GroundedText(phrase, CLASSES) if reads_lists else asked,
        }
    return Example(str(number), str(number), worlds)


def text_example(_: StagedModel, row: Row, number: int, ending: str = "") -> Example:
    words = ("he", "she", "they")[row[0] % 2 :][:2]
    story = STORIES[row[1]]
    worlds = {
        world: {"text": Cloze(story.format(who), words, after=ending)}
        for world, who in (("null", "nurse"), ("both", "man"))
    }
    return Example(str(number), str(number), worlds)


def mediators_of(model: StagedModel) -> list[Any]:
    """Every stage, and of every stage its first port with layers."""
    names = [stage.name for tower in model.towers for stage in tower.stages]
    ports = {port.stage: port for port in reversed(model.ports) if port.layers}
    return list(resolve(model, [*names, *(f"{p.stage}/{p.name}.0" for p in ports.values())]))


class Alone:
    """What every row gives by itself, computed once.

    Args:
        model: Which.
        make: From model, row and number to an example.
    """

    def __init__(self, model: StagedModel, make: Callable[..., Example]) -> None:
        self.model, self.make = model, make
        self.known: dict[Row, Numbers] = {}
        self.engines: dict[int, Engine] = {}  # one traces the model when it is first used

    def numbers(self, rows: Sequence[Row], batch: int) -> list[Numbers]:
        """What the engine makes of each row when they are computed together."""
        examples = [self.make(self.model, row, i) for i, row in enumerate(rows)]
        if batch not in self.engines:
            altered = altered_channels(examples, [BOTH])
            self.engines[batch] = Engine(
                self.model, [BOTH], mediators_of(self.model), altered=altered, mediator_batch=batch
            )
        found: list[Numbers] = [{} for _ in examples]
        for arm in self.engines[batch].run(examples):
            for part, value in arm.readout.items():
                for place, which in enumerate(arm.examples):
                    found[which][arm.mediator, arm.arm, part] = value[place].clone()
        return found

    def refuse_neighbours(self, rows: Sequence[Row], batch: int) -> None:
        for row, found in zip(rows, self.numbers(rows, batch), strict=True):
            if row not in self.known:
                self.known[row] = self.numbers([row], 1)[0]
            assert found.keys() == self.known[row].keys()
            for key, alone in self.known[row].items():
                torch.testing.assert_close(
                    found[key], alone, atol=1e-4, rtol=1e-4, equal_nan=True, msg=lambda m, k=key: f"{k} {m}"
                )  # fmt: skip


VISION = [*HF, "openclip", *DETECTORS]
TEXT = [*CAUSAL, *MASKED]


@pytest.fixture(scope="module")
def alone(load: Callable[[str], Any], language: Callable[[str], Any]) -> Callable[[str], Alone]:
    made: dict[str, Alone] = {}

    def of(name: str) -> Alone:
        if name not in made and name in TEXT:
            ending = " ." if name in MASKED else ""
            made[name] = Alone(language(name), lambda m, r, i: text_example(m, r, i, ending))
        elif name not in made:
            made[name] = Alone(load(name), photo_example)
        return made[name]

    return of


ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=2, max_size=4)
BATCHES = st.sampled_from([1, 2, 5])
FEW = settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=80)


@pytest.mark.parametrize("name", [*VISION, *TEXT])
@FEW
@given(rows=ROWS, batch=BATCHES)
def test_a_number_hangs_on_its_example_alone(
    alone: Callable[[str], Alone], name: str, rows: list[Row], batch: int
) -> None:
    alone(name).refuse_neighbours(rows, batch)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*VISION, *TEXT])
@MANY
@given(rows=ROWS, batch=BATCHES)
def test_a_number_hangs_on_its_example_alone_in_many_batches(
    alone: Callable[[str], Alone], name: str, rows: list[Row], batch: int
) -> None:
    alone(name).refuse_neighbours(rows, batch)
