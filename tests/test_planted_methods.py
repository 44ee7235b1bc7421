"""The first-order method of the planted benchmark is the slope that it says it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._pytree import tree_map

from vlbias.causal.example import Example, GroundedText, Picture
from vlbias.causal.hooks import replaced_output
from vlbias.data.scenes import LINKED, SceneSpec, draw_scene
from vlbias.models import load_model
from vlbias.studies.planted import first_order as first_order_module
from vlbias.studies.planted.first_order import first_order
from vlbias.studies.planted.plants import ENCODERS

OBJECTS = [name for names in LINKED.values() for name in names]


def texts(word: str) -> tuple[str, ...]:
    return tuple(f"a photo of a {word} with a {name}".replace("a u", "an u") for name in OBJECTS)


def test_first_order_is_the_slope_of_the_cosine() -> None:
    model = load_model("planted-dual-image")
    spec = SceneSpec(seed=5)
    examples = []
    for number in range(3):
        scene = draw_scene(spec, number)
        images = [Picture(scene.render(shown)) for shown in (scene.group, "neutral")]
        worlds = {
            world: {"image": image, "text": texts(word)}
            for world, image, word in zip(
                ("null", "both"), images, ("woman", "person"), strict=True
            )
        }
        examples.append(Example(str(number), str(number), worlds))
    slopes = first_order(model, examples, batch=2)
    for encoder, found in zip(("image_encoder", "text_encoder"), slopes, strict=True):
        for row, example in enumerate(examples):
            with torch.no_grad():
                sides = {
                    world: {
                        tower: model.encode(
                            tower, model.collate(tower, model.split(example.worlds[world])[tower])
                        ).double()
                        for tower in ("image_encoder", "text_encoder")
                    }
                    for world in ("null", "both")
                }
            base = {tower: value.requires_grad_() for tower, value in sides["null"].items()}
            unit = {t: torch.nn.functional.normalize(v, dim=-1) for t, v in base.items()}
            logits = unit["image_encoder"] @ unit["text_encoder"].T * model.net.logit_scale.exp()
            for k in range(len(OBJECTS)):
                slope = torch.autograd.grad(logits[0, k], base[encoder], retain_graph=True)[0]
                wanted = (slope * (sides["both"][encoder] - base[encoder])).sum()
                assert found[row, k] == pytest.approx(float(wanted.detach()), abs=2e-2)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_first_order_is_the_slope_inside_a_detector(
    load: Any, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # other boxes are proposed where loud weights are moved further
    monkeypatch.setattr(first_order_module, "_STEP", 1e-4)
    model = load("grounding-dino")
    rng = np.random.default_rng(0)
    names, examples = ("dog", "cup"), []
    for number in range(4):
        pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        other = pixels.copy()
        other[16:48, 16:48] = 128
        worlds = {
            world: {
                "image": Picture(Image.fromarray(image)),
                "text": GroundedText(f"a photo of a {word}. ", names),
            }
            for world, image, word in (("null", pixels, "woman"), ("both", other, "person"))
        }
        examples.append(Example(str(number), str(number), worlds))
    found = first_order(model, examples, batch=2)[ENCODERS.index(encoder)]
    stage = next(stage for stage in model.towers[0].stages if stage.name == encoder)
    module = model.net.get_submodule(stage.module)
    for row, example in enumerate(examples):
        pairs = [model.split(example.worlds[world])["model"][0] for world in ("null", "both")]
        given: list[Any] = []
        handle = module.register_forward_hook(lambda *call, to=given: to.append(call[2]))
        with torch.no_grad():
            for pair in pairs:
                model.encode("model", model.collate("model", [pair]))
        handle.remove()
        step = torch.zeros((), requires_grad=True)

        def moved(a: Any, b: Any, step: torch.Tensor = step) -> Any:
            return a + step * (b - a) if a.is_floating_point() else a

        with replaced_output(module, tree_map(moved, *given)), monkeypatch.context() as patch:
            # the detector learns no box through the layer behind it, and still moves with it
            patch.setattr(torch.Tensor, "detach", lambda tensor: tensor)
            logits = model.encode("model", model.collate("model", pairs[:1]))["logits"].amax(1)
        for k in range(len(names)):
            (slope,) = torch.autograd.grad(logits[0, k], step, retain_graph=True)
            assert found[row, k] == pytest.approx(slope.item(), rel=0.03, abs=0.15)
    assert np.abs(found).max() > 0.5
