"""Whether a model keeps the adapter contract, on photos and texts made here."""

from __future__ import annotations

import numpy as np
from PIL import Image

from vlbias.causal.cloze import Cloze
from vlbias.causal.conformance import Finding, conformance
from vlbias.causal.example import Inputs, Picture
from vlbias.causal.staged import StagedModel
from vlbias.models import load_model

__all__ = ["check"]


def check(model: str | StagedModel, *, device: str = "cpu") -> list[Finding]:
    """Whether a model keeps the adapter contract, tested on small photos and texts made here.

    Raises:
        BadModel: if the model cannot be loaded.
    """
    staged = load_model(model, device=device) if isinstance(model, str) else model
    base, other = _check_inputs(staged)
    return conformance(staged, base, other)


def _check_inputs(model: StagedModel) -> tuple[list[Inputs], list[Inputs]]:
    if all(tower.channels == ("text",) for tower in model.towers):
        frame = "The {} said that"
        base, other = (
            [
                {"text": Cloze(frame.format(word), ("he", "she"), (("word", 4, 4 + len(word)),))}
                for word in words
            ]
            for words in (("nurse", "doctor", "teacher"), ("man", "woman", "person"))
        )
        return base, other
    rng = np.random.default_rng(0)
    if any("image" in tower.channels for tower in model.towers) and model.name != "toy":
        texts = [
            ("a photo of a man with a cup", "a photo of a person with a cup"),
            ("a photo of a woman with a dog", "a photo of a person with a dog"),
            ("a man riding a horse", "a person riding a horse"),
        ]
        pixels = rng.integers(0, 256, (6, 48, 64, 3), dtype=np.uint8)
        images = [Picture(Image.fromarray(array)) for array in pixels]
        return (
            [{"image": images[i], "text": texts[i][0]} for i in range(3)],
            [{"image": images[i + 3], "text": texts[i][1]} for i in range(3)],
        )
    base, other = (
        [{"image": tuple(row[0]), "text": tuple(row[1])} for row in side]
        for side in rng.normal(size=(2, 3, 2, 8)).tolist()
    )
    return base, other
