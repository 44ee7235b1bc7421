"""Stages that run once per distinct input, and jobs that need not be run."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from tiny_photos import CLASSES, pictures

from vlbias.causal import mediator_jobs
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine, altered_channels
from vlbias.causal.example import Example, GroundedText
from vlbias.causal.site import Mediator
from vlbias.causal.sweep import SweepPlan

SITES = (
    "image_encoder",
    "text_encoder",
    "image_encoder/attn.1",
    "image_encoder/head.1[0]",
    "image_encoder/neck.0",
    "text_encoder/mlp.1",
    "fusion_encoder/text_stream.0",
    "fusion_encoder/vision_stream.0",
    "image_encoder/mlp.0+text_encoder/attn.0",
)
WORLDS = ("null", "image", "text", "both")


def example() -> Example:
    """One photo in the four worlds of two images and two texts."""
    one, other = pictures(2)
    texts = [GroundedText(f"a {who} with a dog. ", CLASSES) for who in ("man", "person")]
    pairs = {"null": (one, 0), "image": (other, 0), "text": (one, 1), "both": (other, 1)}
    worlds = {name: {"image": image, "text": texts[i]} for name, (image, i) in pairs.items()}
    return Example("0", "0", worlds)


CONTRASTS = [Contrast("null", other) for other in (*WORLDS[1:], "null")]


def readouts(model: Any, *, lazy: bool = True) -> dict[tuple[str, str, str], Any]:
    mediators = [Mediator.of(site.split("+")) for site in SITES]
    altered = altered_channels([example()], CONTRASTS)
    engine = Engine(model, CONTRASTS, mediators, altered=altered)
    for plan in engine.plans.values():
        plan.lazy = lazy
    return {
        (arm.contrast.cf, arm.mediator, arm.arm): arm.readout for arm in engine.run([example()])
    }


def test_what_is_left_out_gives_what_running_it_gives(load: Any) -> None:
    model = load("grounding-dino")
    lazy, run = readouts(model), readouts(model, lazy=False)
    assert lazy.keys() == run.keys()
    for key, readout in lazy.items():
        for name, value in readout.items():
            torch.testing.assert_close(value, run[key][name], atol=1e-4, rtol=1e-4)


def test_the_decomposition_over_encoders_is_exact(load: Any) -> None:
    """Four worlds hold every outcome of whole encoders: they are read, not computed again."""
    found = readouts(load("grounding-dino"))
    worlds = {"null": found["both", "", "00"], "both": found["both", "", "11"]}
    worlds |= {name: found[name, "", "11"] for name in ("image", "text")}
    for mediator, arms in {
        "image_encoder": {"01": "image", "10": "text"},
        "text_encoder": {"01": "text", "10": "image"},
    }.items():
        for arm, world in arms.items():
            for key, value in worlds[world].items():
                assert torch.equal(found["both", mediator, arm][key], value)


def test_an_encoder_that_sees_no_change_has_exactly_no_effect(load: Any) -> None:
    found = readouts(load("grounding-dino"))
    for site in SITES:
        for world, encoder in (("text", "image_encoder"), ("image", "text_encoder"), ("null", "")):
            if "+" in site or not site.startswith(encoder):
                continue
            for key, value in found[world, site, "01"].items():
                assert torch.equal(value, found[world, "", "00"][key]), (world, site)
                assert torch.equal(found[world, site, "10"][key], found[world, "", "11"][key])


@pytest.mark.parametrize("name", ["grounding-dino", "grounding-dino-dinov2"])
def test_encoders_run_once_per_distinct_input(
    load: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(name)
    readouts(model)  # the trace runs on rows of its own
    rows: Counter[str] = Counter()
    jobs: Counter[str] = Counter()
    net = model.net.model
    backbone = "swin." if name == "grounding-dino" else ""
    # inside modules whose output is replaced: these are called only where something is computed
    first = {
        "text": net.text_backbone.embeddings.word_embeddings,
        "image": net.backbone.conv_encoder.model.get_submodule(
            f"{backbone}embeddings.patch_embeddings.projection"
        ),
    }
    handles = [
        module.register_forward_hook(lambda _, args, out, key=key: rows.update({key: out.shape[0]}))
        for key, module in first.items()
    ]
    engine = Engine(
        model,
        CONTRASTS,
        [Mediator.of([site]) for site in SITES[:6]],
        altered=altered_channels([example()], CONTRASTS),
    )
    resumed = mediator_jobs.resume_mediators

    def counted(*args: Any) -> Any:
        jobs.update({site: len(span) for site, span in args[3].items()})
        return resumed(*args)

    monkeypatch.setattr(mediator_jobs, "resume_mediators", counted)
    for plan in engine.plans.values():
        batch = model.collate(
            "model", [model.split(w)["model"][0] for w in example().worlds.values()]
        )
        plan._ensure_trace(batch)
    rows.clear()
    list(engine.run([example()]))
    for handle in handles:
        handle.remove()
    assert rows == {"image": 2, "text": 2}
    # four contrasts and two arms, yet each replaced image or text meets each row at most once
    assert all(jobs[site] == 0 for site in ("image_encoder", "text_encoder"))
    assert all(0 < jobs[site] <= 4 for site in SITES[2:6])
    assert isinstance(next(iter(engine.plans.values())), SweepPlan)
