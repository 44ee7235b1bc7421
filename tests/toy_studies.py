"""Studies of the toy model on vectors in place of photos: made in a second, for tests of whole runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vlbias.causal.example import Example
from vlbias.data.table import Dataset
from vlbias.models import load_model, outline_model
from vlbias.models.toy import Toy
from vlbias.studies.arms.plan import ArmsPlan
from vlbias.studies.bias import plan as bias_plan
from vlbias.studies.bias.study import Study as BiasStudy
from vlbias.studies.mitigation import plan as mitigation_plan
from vlbias.studies.mitigation.plan import MitigationPlan
from vlbias.studies.mitigation.settings import settings_of
from vlbias.studies.mitigation.study import Study as MitigationStudy
from vlbias.studies.photos.plan import Photos

__all__ = ["CLASSES", "planted_plan", "toy_examples", "toy_photos", "toy_study"]

CLASSES = (
    "bench",
    "book",
    "bottle",
    "bowl",
    "chair",
    "cup",
    "dog",
    "handbag",
    "kite",
    "tie",
    "vase",
    "wine glass",
)
_MEDIATORS = ("image_encoder", "text_encoder", "image_encoder/neuron[*]", "text_encoder/neuron[*]")
_CUE = 6.0
"""Strength of the cue that the toy of `planted_plan` is misled by."""
_CONTRASTS = (
    "null->mask-gender", "null->replace-gender", "null->both",
    "null->placebo-image", "null->placebo-text", "null->null",
)  # fmt: skip


def toy_study(photos: int = 900, seed: int = 0, contrasts: Sequence[str] = _CONTRASTS) -> ArmsPlan:
    """A study whose answer is known: vectors instead of photos, drawn from a seed.

    Every "photo" holds content, a cue of its group and clutter, in the image and in the text vector;
    mask-gender and replace-gender take the cue out, the placebos as much clutter. An object counts as
    present where the toy's score of the content alone is high, so the cue is all that misleads it.
    """
    study = BiasStudy.model_validate(
        {
            "name": "toy",
            "model": "toy",
            "dataset": {"name": "toy", "splits": ("dev", "test")},
            "contrasts": tuple(contrasts),
            "mediators": _MEDIATORS,
            "operating_point": {"rule": "fpr", "value": 0.1, "split": "dev", "report": ("test",)},
            "shard_size": 150,
            "seed": seed,
        }
    )
    examples = toy_examples(
        Toy(),
        photos,
        np.random.default_rng(seed),
        {"image": 1.0, "text": 0.5},
        ("dev", "test", "test"),
    )
    return bias_plan.plan_of(study, toy_photos(examples), outline_model("toy"))


def planted_plan(
    methods: Sequence[Mapping[str, Any]],
    route: Literal["image", "text"] = "image",
    *,
    photos: int = 3000,
    seed: int = 0,
    name: str = "planted",
    **protocol: Any,
) -> MitigationPlan:
    """The study of some methods on the toy, where a group's cue enters through one encoder alone.

    The toy's encoders keep all that they are given, so that a mitigation can take the cue out and
    leave the content: objects are there by the content alone, and the cue is all that misleads.

    Args:
        methods: As `[[mitigation.methods]]` of a study file.
        route: The encoder the cue enters through.
        photos: How many are drawn, a third for each split.
        seed: Of everything.
        name: Of the run folder.
        **protocol: Further settings of `[mitigation]`.
    """
    study = MitigationStudy.model_validate(
        {
            "name": name,
            "model": "toy-wide",
            "dataset": {"name": "toy"},
            "mitigation": {"methods": list(methods), **protocol},
            "seed": seed,
        }
    )
    toy: Any = load_model(study.model)
    strength = {channel: _CUE * (channel == route) for channel in ("image", "text")}
    examples = toy_examples(
        toy, photos, np.random.default_rng(seed), strength, ("dev", "fit", "test")
    )
    settings = settings_of(study.mitigation)
    return mitigation_plan.plan_of(study, toy_photos(examples), settings, toy)


def toy_photos(examples: Sequence[Example]) -> Photos:
    """Vectors that were drawn, as the photos of a study."""
    described = repr([sorted(example.worlds.items()) for example in examples])
    dataset = Dataset(
        pd.DataFrame(),
        Path(),
        CLASSES,
        {"reader": "toy", "funnel": {"photos drawn": len(examples)}},
        hashlib.sha256(described.encode()).hexdigest(),
    )
    return Photos(dataset, tuple(examples), {})


def toy_examples(
    toy: Toy,
    photos: int,
    rng: np.random.Generator,
    strength: Mapping[str, float],
    splits: Sequence[str],
) -> list[Example]:
    """Examples of a toy, with a cue of the group planted in image and text.

    Args:
        toy: Its channels say how long the vectors are.
        photos: How many.
        rng: Draws them.
        strength: Of the cue in the channels "image" and "text"; 0 plants none.
        splits: Dealt to the examples in turn.
    """
    width = toy.channels
    basis = np.linalg.qr(rng.normal(size=(width, width)))[0]
    cue, clutter = basis[0], basis[1]
    group = rng.random(photos) < 0.67
    sign = np.where(group, 1.0, -1.0)[:, None]
    content = {
        c: rng.normal(size=(photos, width)) @ (np.eye(width) - np.outer(cue, cue))
        for c in ("image", "text")
    }
    null = {c: content[c] + strength[c] * sign * cue for c in content}
    masked = content
    blind = rng.choice([-1.0, 1.0], size=(photos, 1))
    placebo = {c: null[c] - strength[c] * blind * clutter for c in content}
    present = _present(toy, content, rng)
    sides = {
        "null": (null, null), "mask-gender": (masked, null), "replace-gender": (null, masked),
        "both": (masked, masked), "placebo-image": (placebo, null), "placebo-text": (null, placebo),
    }  # fmt: skip
    return [
        Example(
            f"toy/{i:04d}",
            f"toy/{i:04d}",
            {
                name: {
                    "image": tuple(image["image"][i].tolist()),
                    "text": tuple(text["text"][i].tolist()),
                }
                for name, (image, text) in sides.items()
            },
            {"present": frozenset(np.array(CLASSES)[present[i]].tolist())},
            {
                "group": "masculine" if group[i] else "feminine",
                "split": splits[i % len(splits)],
            },
        )
        for i in range(photos)
    ]


def _present(
    toy: Toy, content: dict[str, NDArray[np.float64]], rng: np.random.Generator
) -> NDArray[np.bool_]:
    rows = list(zip(content["image"].tolist(), content["text"].tolist(), strict=True))
    logits = toy.encode("model", toy.collate("model", rows)).detach().numpy()
    noisy = logits + rng.normal(size=logits.shape) * logits.std(axis=0) * 0.5
    found: NDArray[np.bool_] = noisy > np.quantile(noisy, 0.9, axis=0)
    return found
