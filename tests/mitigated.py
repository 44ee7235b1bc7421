"""Examples of groups that differ, for fitting mitigations on minuscule models, and what a net holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from tiny_photos import CLASSES, TEXTS
from torch import Tensor

from vlbias.causal.example import Example, GroundedText, Picture
from vlbias.causal.region import Region

SIZE = (40, 30)
BOX = (6.0, 4.0, 22.0, 26.0)


def examples(
    count: int = 24, *, seed: int = 0, form: str = "caption", first: int = 0
) -> list[Example]:
    """Photos of noise in which the region is redder for one group and bluer for the other.

    `form` is what the text is: "caption", "prompts" (a tuple), or "grounded".
    """
    rng = np.random.default_rng(seed)
    made = []
    for number in range(first, first + count):
        group = ("feminine", "masculine")[number % 2]
        pixels = rng.integers(0, 256, (SIZE[1], SIZE[0], 3)).astype(float)
        pixels[4:26, 6:22, 2 * (number % 2)] *= 0.6
        word = {"feminine": "woman", "masculine": "man"}[group]
        texts: dict[str, Any] = {
            "caption": TEXTS[number % 3][0] if number % 3 else f"a photo of a {word} with a dog",
            "prompts": tuple(f"a photo of a {word} with a {name}" for name in CLASSES),
            "grounded": GroundedText(f"a {word} on the street. ", CLASSES),
        }
        regions = (
            Region("person", (BOX,)),
            Region("objects", ((2.0, 2.0, 10.0, 10.0),)),
            Region("placebo-person", ((23.0, 4.0, 39.0, 26.0),)),
        )
        picture = Picture(Image.fromarray(pixels.astype(np.uint8)), (), regions)
        made.append(
            Example(
                f"noise/{number}",
                f"noise/{number}",
                {"null": {"image": picture, "text": texts[form]}},
                {"present": frozenset(CLASSES[: 1 + number % 3]), "size": SIZE},
                {"group": group},
            )
        )
    return made


def outputs(model: Any, some: list[Example]) -> list[Tensor]:
    """Every tensor that the towers give for the examples, tower by tower."""
    found = []
    with torch.inference_mode():
        for tower in model.towers:
            rows = [row for e in some for row in model.split(e.worlds["null"])[tower.name]]
            encoded = model.encode(tower.name, model.collate(tower.name, rows))
            leaves = encoded.values() if isinstance(encoded, dict) else [encoded]
            found += [leaf.clone() for leaf in leaves]
    return found


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    """Whether two lists of tensors are equal bit by bit."""
    return len(one) == len(other) and all(map(torch.equal, one, other))


def state(net: torch.nn.Module) -> dict[str, Any]:
    """What must not change: each parameter's object, storage and content, hooks, own forwards."""
    held: dict[str, Any] = {}
    for name, parameter in net.named_parameters():
        held[name] = (id(parameter), parameter.data_ptr(), parameter.detach().clone().numpy())
    for name, module in net.named_modules():
        hooks = (module._forward_hooks, module._forward_pre_hooks)
        held[f"{name}()"] = (tuple(map(len, hooks)), module.__dict__.get("forward"))
    return held


def unchanged(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether two states are equal, parameters bit by bit."""
    if before.keys() != after.keys():
        return False
    for name, (one, *rest) in before.items():
        other, *others = after[name]
        if one != other:
            return False
        for a, b in zip(rest, others, strict=True):
            if not (np.array_equal(a, b) if isinstance(a, np.ndarray) else a is b or a == b):
                return False
    return True
