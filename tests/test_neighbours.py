"""A number hangs on its example alone: on no neighbour in a batch, and on no world that is not used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from contract import ROWS, failed
from engine_runs import BOTH, Load
from PIL import Image
from tiny_photos import CLASSES

from vlbias.causal.engine import Arm, Engine, altered_channels
from vlbias.causal.example import Example, GroundedText, Picture
from vlbias.causal.photo_sizes import PhotoSizes
from vlbias.causal.site import Mediator
from vlbias.causal.staged_model import StagedModel, resolve
from vlbias.errors import BadData
from vlbias.models import load_model
from vlbias.models.check_adapter import check
from vlbias.models.toy import Toy
from vlbias.studies.mitigation.work.passes import nulls, readouts

pytestmark = pytest.mark.integration
SIZES = ((64, 48), (48, 96), (64, 48), (40, 40), (90, 30))
WORDS = ("a {}. ", "a photo of a {} near a street. ", "a photo of a {}. ")


def picture(seed: int, size: tuple[int, int]) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Picture(Image.fromarray(pixels))


def example(number: int, *sizes: tuple[int, int]) -> Example:
    """One whose two worlds have photos of these sizes, and a text of one of three lengths."""
    worlds: dict[str, Any] = {}
    for k, (size, who) in enumerate(zip(sizes, ("man", "person"), strict=True)):
        text = GroundedText(WORDS[number % 3].format(who), CLASSES)
        worlds[("null", "both")[k]] = {"image": picture(2 * number + k, size), "text": text}
    return Example(str(number), str(number), worlds)


def arms(model: StagedModel, examples: Sequence[Example], **options: Any) -> dict[Any, Arm]:
    mediators = resolve(model, ["image_encoder", "text_encoder/mlp.0", "fusion_encoder"])
    altered = altered_channels(examples, [BOTH])
    engine = Engine(model, [BOTH], mediators, altered=altered, **options)
    return {(arm.mediator, arm.arm): arm for arm in engine.run(examples)}


@pytest.mark.parametrize("name", ["grounding-dino", "mm-grounding-dino"])
def test_no_arm_hangs_on_the_photos_and_texts_beside_it(load: Load, name: str) -> None:
    model = load(name)
    examples = [example(i, size, size) for i, size in enumerate(SIZES)]
    together = arms(model, examples, mediator_batch=3)
    for i, one in enumerate(examples):
        for key, alone in arms(model, [one]).items():
            for part, value in alone.readout.items():
                found = together[key].readout[part][i]
                torch.testing.assert_close(found, value[0], atol=1e-4, rtol=1e-4)


def test_passes_of_mitigations_batch_photos_by_size(load: Load) -> None:
    model, photos = load("grounding-dino"), [example(i, size, size) for i, size in enumerate(SIZES)]
    few, many = (
        torch.cat([readout["class_logits"] for _, readout in readouts(model, nulls(photos), batch)])
        for batch in (1, 5)
    )
    torch.testing.assert_close(few, many, atol=1e-4, rtol=1e-4)


def test_worlds_of_two_sizes_exchange_nothing_but_all(load: Load) -> None:
    model, odd, even = load("grounding-dino"), example(0, *SIZES[:2]), example(2, *SIZES[2:3] * 2)
    found = arms(model, [odd, even])
    alone = arms(model, [even])
    for (mediator, arm), value in found.items():
        logits = value.readout["class_logits"]
        cut = mediator in ("", "fusion_encoder")
        assert value.misaligned.tolist() == [not cut, False]
        assert bool(logits[0].isfinite().all()) == cut
        expected = alone[mediator, arm].readout["class_logits"][0]
        torch.testing.assert_close(logits[1], expected, atol=1e-4, rtol=1e-4)
    # all of the other world is the other world, whatever its size
    swapped, other = (
        found[key].readout["class_logits"][0] for key in (("fusion_encoder", "01"), ("", "11"))
    )
    torch.testing.assert_close(swapped, other, atol=1e-4, rtol=1e-4)


def test_a_batch_that_would_be_padded_is_refused(load: Load) -> None:
    model = load("grounding-dino")
    rows = [
        model.split(example(i, size, size).worlds["null"])["model"][0]
        for i, size in enumerate(SIZES)
    ]
    with pytest.raises(BadData, match="48, 96"):
        model.collate("model", rows)
    batches = list(PhotoSizes(model).batches("model", rows, 2))
    assert sorted(map(sorted, batches)) == [[0, 2], [1], [3], [4]]


def test_an_adapter_that_pads_photos_to_the_largest_is_found_out(model_folder: Any) -> None:
    model: Any = load_model(str(model_folder("dinov2-bert")))
    collate = model.collate

    def padded(tower: str, rows: Sequence[Any]) -> Any:
        if tower == "text_encoder":
            return collate(tower, rows)
        images = [row.open() for row in rows]
        wide, high = (max(side) for side in zip(*(image.size for image in images), strict=True))
        largest = [Image.new("RGB", (wide, high)) for _ in images]
        for frame, image in zip(largest, images, strict=True):
            frame.paste(image)
        return collate(tower, [Picture(frame) for frame in largest])

    model.collate = padded
    assert set(failed(check(model))) == {ROWS}


def vectors(seed: int) -> tuple[float, ...]:
    return tuple(np.random.default_rng(seed).normal(size=8).tolist())


def test_worlds_that_no_contrast_uses_change_nothing() -> None:
    names = ("null", "both", "blank", "blurred", "masked", "other")
    examples = [
        Example(
            str(i),
            str(i),
            {n: {"image": vectors(10 * i + k), "text": vectors(i)} for k, n in enumerate(names)},
        )
        for i in range(6)
    ]
    found = []
    for kept in (names, names[:2]):
        some = [Example(e.id, e.id, {name: e.worlds[name] for name in kept}) for e in examples]
        mediators = [Mediator.of(["image_encoder"])]
        engine = Engine(Toy(), [BOTH], mediators, altered=altered_channels(some, [BOTH]))
        assert engine.share(some) == ()
        found.append([arm.readout["class_logits"] for arm in engine.run(some[:2])])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("repeats", "shared"), [("near", ()), ("far", ("model",))])
def test_photos_are_shared_only_where_they_recur_over_cells(
    repeats: str, shared: tuple[str, ...]
) -> None:
    of = [i // 4 for i in range(16)] if repeats == "near" else [i % 4 for i in range(16)]
    examples = [
        Example(
            str(i),
            str(i),
            {
                name: {"image": vectors(2 * n + k), "text": vectors(n)}
                for k, name in enumerate(("null", "both"))
            },
        )
        for i, n in enumerate(of)
    ]
    engine = Engine(Toy(), [BOTH], [], altered=altered_channels(examples, [BOTH]))
    assert engine.share(examples, cell=4) == shared


def test_an_edit_keeps_the_size_of_a_photo() -> None:
    image = Image.new("RGB", (8, 6))
    assert Picture(image).size == Picture(image).open().size == (8, 6)
    with pytest.raises(BadData, match="edits change its size"):
        Picture(image, (lambda photo: photo.resize((4, 4)),)).open()
