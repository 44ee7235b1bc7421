"""Every mitigation with settings for tiny models, fitted on examples of groups that differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mitigated import examples

from vlbias.mitigations import make_mitigation
from vlbias.mitigations.base import Fitted

Load = Callable[[str], Any]


HEADS = ("image_encoder/head.0[1]", "image_encoder/head.2[0]")
SETTINGS: dict[str, dict[str, Any]] = {
    "feature-blur": {"sigma": 1.0},
    "pixel-blur": {"fill": "mean"},
    "text-neutral": {},
    "mean-ablation": {"sites": HEADS},
    "folded-ablation": {"sites": HEADS},
    "leace": {"sites": ("image_encoder/resid.1", "image_encoder")},
    "inlp": {"most": 3, "margin": -1.0},
    "sfid": {"features": 4, "unsure": 1.0},
    "clip-clip": {"features": 3},
    "steering": {"sites": ("image_encoder/resid.1",)},
    "sae": {"sites": ("image_encoder/resid.1",), "k": 4, "most": 4, "steps": 20},
    "prompt-projection": {"objects": ("dog", "umbrella")},
    "rank-one": {"sites": ("image_encoder/mlp.1",)},
    "located-unlearning": {"sites": ("image_encoder/mlp.1",), "steps": 4, "check": 1, "rate": 1e-2},
}
DETECTOR = {
    **{name: SETTINGS[name] for name in ("feature-blur", "pixel-blur", "text-neutral")},
    "mean-ablation": {"sites": ("image_encoder/head.0[0]", "fusion_encoder/text_head.1[1]")},
    # not the neck: it normalises every channel of an image here, which leaves nothing to erase
    "leace": {"sites": ("image_encoder/resid.1",)},
    "sfid": {"sites": ("image_encoder/neck.1",), "features": 4, "unsure": 1.0},
    "prompt-projection": {"site": "text_encoder/resid.1", "objects": ("dog", "umbrella")},
    "rank-one": {"sites": ("image_encoder/mlp.1",)},
    "located-unlearning": {
        "sites": ("text_encoder/resid.1",),
        "steps": 2,
        "check": 1,
        "rate": 1e-2,
    },
}
OMDET = {
    **DETECTOR,
    "mean-ablation": {
        "sites": ("image_encoder/head.0[0]", "decoder/head.1[1]", "text_encoder/task")
    },
    "folded-ablation": {"sites": ("image_encoder/head.0[0]", "text_encoder/head.1[0]")},
    "sfid": {"sites": ("hybrid_encoder/projection.1",), "features": 4, "unsure": 1.0},
    "prompt-projection": {
        "site": "text_encoder/resid.1",
        "spurious": ("a man", "a woman"),
        "pair": ("a man with {object}", "a woman with {object}"),
        "objects": ("person", "umbrella"),
    },
}


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def fitted(name: str, model: Any, form: str = "caption", **changes: Any) -> Fitted:
    mitigation = make_mitigation(name, **{**SETTINGS[name], **changes})
    return mitigation.fit(model, examples(form=form), rng=rng())
