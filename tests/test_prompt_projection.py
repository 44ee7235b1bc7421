"""What is left of prompts after their projection, in dual encoders and detectors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from fitted_mitigations import Load, rng
from mitigated import examples

from vlbias.errors import BadData, BadStudy
from vlbias.mitigations import make_mitigation
from vlbias.mitigations.activations import activations, mean_activations
from vlbias.mitigations.sites import site_points


def test_prompt_projection_removes_what_the_prompts_span(load: Load) -> None:
    model = load("clip")
    spurious = ("a photo of a man", "a photo of a woman")
    one = make_mitigation("prompt-projection", spurious=spurious, objects=("dog", "cup"))
    ready = one.fit(model, rng=rng())
    assert ready.learned.notes == {"rank": 2, "pairs": 2}

    def embedded(changed: Any, texts: tuple[str, ...]) -> torch.Tensor:
        with torch.inference_mode():
            x = changed.encode("text_encoder", changed.collate("text_encoder", texts))
        return torch.nn.functional.normalize(x.double(), dim=1)

    pair = ("a photo of a man with a dog", "a photo of a woman with a dog")
    with ready.applied(model) as projected:
        apart = embedded(projected, pair)
        inside = embedded(model, spurious)
        assert float((embedded(projected, ("a horse", "a cup")) @ inside.T).abs().max()) < 1e-5
    before = embedded(model, pair)
    assert float(apart[0] @ apart[1]) > float(before[0] @ before[1])
    with pytest.raises(BadStudy, match="reads texts alone"):
        make_mitigation("prompt-projection", site="image_encoder").fit(model, rng=rng())


@pytest.mark.integration
@pytest.mark.parametrize("family", ["grounding-dino", "omdet-turbo"])
def test_prompt_projection_of_a_detector_projects_every_token(load: Load, family: str) -> None:
    model, some = load(family), examples(3, form="grounded")
    site, spurious = "text_encoder/resid.0", ("a man", "a woman")
    pair = ("a man with {object}", "a woman with {object}")
    settings = {"site": site, "spurious": spurious, "pair": pair, "objects": ("person", "umbrella")}
    one = make_mitigation("prompt-projection", **settings)
    asked = [
        replace(some[0], id=text, worlds={"null": {**some[0].worlds["null"], "text": text}})
        for text in spurious
    ]
    inside = torch.nn.functional.normalize(
        mean_activations(model, site_points(model, [site])[0], asked)[0], dim=1
    )
    with one.fit(model, some, rng=rng()).applied(model) as projected:
        tokens = torch.cat(
            [v.tokens[0] for v in activations(projected, site_points(projected, [site])[0], some)]
        )
    plain = torch.cat(
        [v.tokens[0] for v in activations(model, site_points(model, [site])[0], some)]
    )
    assert float((tokens @ inside.T).abs().max()) < 1e-4 < float((plain @ inside.T).abs().max())
    assert torch.allclose(tokens.norm(dim=1), plain.norm(dim=1), rtol=1e-4)
    with pytest.raises(BadData, match="needs a photo"):
        one.fit(model, rng=rng())
    with pytest.raises(BadStudy, match="port of the text encoder"):
        replace(one, site="image_encoder/resid.0").fit(model, some, rng=rng())
