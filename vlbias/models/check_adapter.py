"""Whether a model keeps the adapter contract, on photos and texts made here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
from PIL import Image

from vlbias.causal.cloze import Cloze
from vlbias.causal.conformance import Finding, conformance
from vlbias.causal.example import Inputs, Picture
from vlbias.causal.staged_model import StagedModel
from vlbias.models import load_model

__all__ = ["check"]


def check(
    model: str | StagedModel,
    *,
    device: str = "cpu",
    tell: Callable[[Finding], None] = lambda finding: None,
    step: Callable[[int, int], None] = lambda done, total: None,
) -> list[Finding]:
    """Whether a model keeps the adapter contract, tested on small photos and texts made here.

    Detectors are tested in double precision: they go on with their best proposals, and where two are as
    good within rounding, a batch of another size would choose otherwise, whatever the adapter does.

    Args:
        model: A name, a folder, or a model in memory.
        device: Where a model that is loaded runs.
        tell: Hears every finding as soon as it is there.
        step: Hears how many steps are done, of how many.

    Raises:
        BadModel: if the model cannot be loaded.
    """
    staged = load_model(model, device=device) if isinstance(model, str) else model
    base, other = _check_inputs(staged)
    with _in_double(staged) if "boxes" in staged.gives else nullcontext():
        return conformance(staged, base, other, tell=tell, step=step)


@contextmanager
def _in_double(model: StagedModel) -> Iterator[None]:
    before = next(model.net.parameters()).dtype
    model.net.double()
    try:
        yield
    finally:
        model.net.to(before)


def _check_inputs(model: StagedModel) -> list[list[Inputs]]:
    """Three or two inputs for the model, and the same changed in every channel."""
    if all(tower.channels == ("text",) for tower in model.towers):
        frame = "The {} said that"
        return [
            [
                {"text": Cloze(frame.format(word), ("he", "she"), (("word", 4, 4 + len(word)),))}
                for word in words
            ]
            for words in (("nurse", "doctor", "teacher"), ("man", "woman", "person"))
        ]
    rng = np.random.default_rng(0)
    if "candidate_logprob" in model.gives:
        return _photo_questions()
    if any("image" in tower.channels for tower in model.towers) and model.name != "toy":
        # detectors enlarge an image's short side unless it is long; one pass of theirs takes seconds
        wide = "boxes" in model.gives
        asked = ["a photo of a {} with a cup", "a photo of a {} with a dog", "a {} riding a horse"]
        frames = asked[::2] if wide else asked  # of several lengths
        pixels = rng.integers(0, 256, (6, 8, 96, 3) if wide else (6, 48, 64, 3), dtype=np.uint8)
        images = [Picture(Image.fromarray(array)) for array in pixels]
        return [
            [{"image": images[3 * k + i], "text": text.format(w)} for i, text in enumerate(frames)]
            for k, w in enumerate(("man", "person"))
        ]
    return [
        [{"image": tuple(row[0]), "text": tuple(row[1])} for row in side]
        for side in rng.normal(size=(2, 3, 2, 8)).tolist()
    ]


def _photo_questions() -> list[list[Inputs]]:
    """Questions on photos of noise, with answers of one token and of several."""
    frames = [
        "is there a {} in this image?",
        "is the {} with a cup here?",
        "a {} riding a horse. yes?",
    ]
    pixels = np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), dtype=np.uint8)
    images = [Picture(Image.fromarray(array)) for array in pixels]
    answers = ("yes", "no", "maybe not here")
    sides: list[list[Inputs]] = []
    for k, word in enumerate(("man", "person")):
        spans = [(("word", frame.index("{}"), frame.index("{}") + len(word)),) for frame in frames]
        texts = [
            Cloze(frame.format(word), answers, span)
            for frame, span in zip(frames, spans, strict=True)
        ]
        sides.append([{"image": images[3 * k + i], "text": text} for i, text in enumerate(texts)])
    return sides
