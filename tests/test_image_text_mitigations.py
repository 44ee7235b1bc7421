"""Mitigations of generative models: at tokens of the photo, with their placebos, under kept prefixes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from contract import failed
from mitigated import examples as noise
from mitigated import outputs, same, state, unchanged
from tiny_image_text import asked, image_text, sides
from torch import Tensor

from vlbias.causal.conformance import conformance
from vlbias.causal.conformance_shortcuts import check_shortcuts
from vlbias.causal.conformance_subject import Subject
from vlbias.causal.example import Example, mix
from vlbias.causal.tape import record
from vlbias.errors import BadData, BadModel, BadStudy, UnknownName
from vlbias.mitigations import make_mitigation
from vlbias.mitigations.probes import readable
from vlbias.mitigations.region_tokens import Drawing
from vlbias.models.image_text.adapter import ImageText

pytestmark = pytest.mark.integration
SITE = "lm/resid.1@image"


@pytest.fixture(scope="module")
def llava() -> ImageText:
    model: ImageText = image_text("llava")
    return model


def examples(count: int = 24, first: int = 0) -> list[Example]:
    """Photos that are redder for one group and bluer for the other, with one question."""
    return [
        Example(e.id, e.cluster, {"null": {**e.worlds["null"], "text": asked("dog")}}, e.targets, e.attributes)
        for e in noise(count, first=first)
    ]  # fmt: skip


def fitted(name: str, model: Any, **settings: Any) -> Any:
    made = make_mitigation(name, **settings)
    return made.fit(model, examples(), rng=np.random.default_rng(0))


def block(model: Any, some: list[Example], layer: int = 1) -> tuple[Tensor, Tensor]:
    """What a block gives for every token, and which tokens are of the photo."""
    rows = [row for e in some for row in model.split(e.worlds["null"])["model"]]
    batch = model.collate("model", rows)
    path = next(p for p in model.ports if (p.stage, p.name) == ("lm", "resid")).path(layer)
    tape = record(model, model.towers[0], batch, outputs=[path])
    return tape.at((path, "out")), batch["span.image"]


@pytest.mark.parametrize("name", ["leace", "steering", "sae"])
def test_only_tokens_of_the_photo_are_changed(llava: ImageText, name: str) -> None:
    some, held = examples(4, first=100), state(llava.net)
    settings = {"k": 4, "steps": 20} if name == "sae" else {}
    ready = fitted(name, llava, sites=[SITE], **settings)
    before, image = block(llava, some)
    whole = outputs(llava, some)
    with ready.applied(llava) as changed:
        after, _ = block(changed, some)
        assert not same(outputs(changed, some), whole)
    assert torch.equal(after[~image], before[~image])
    assert not torch.allclose(after[image], before[image], atol=1e-3)
    assert unchanged(held, state(llava.net))
    assert same(outputs(llava, some), whole)


def test_leace_leaves_no_linear_trace_at_the_photo_s_tokens(llava: ImageText) -> None:
    fit, test = examples(60), examples(40, first=200)
    rng = np.random.default_rng(0)
    ready = make_mitigation("leace", sites=[SITE]).fit(llava, fit, rng=rng)
    plain = readable(llava, SITE, fit, test, rng=rng).linear
    with ready.applied(llava) as erased:
        left = readable(erased, SITE, fit, fit_again(fit), rng=rng).linear
    assert plain > 0.9
    assert left < 0.7


def fit_again(fit: list[Example]) -> list[Example]:
    """The same examples under other names: what erasure promises is of these."""
    return [
        Example(f"again/{e.id}", f"again/{e.cluster}", e.worlds, e.targets, e.attributes)
        for e in fit
    ]


def test_kept_prefixes_change_no_number_under_a_mitigation(llava: ImageText) -> None:
    assert llava.towers[0].causal is not None
    base, cf = sides(1)
    worlds = {"base": base[0], "cf": cf[0]}
    worlds |= {f"cf-{c}": mix(base[0], cf[0], {c}) for c in ("image", "text")}
    some = [Example("0", "0", worlds)]
    with fitted("steering", llava, sites=[SITE]).applied(llava) as changed:
        passed, detail = check_shortcuts(Subject(changed, some, 1e-5))
    assert passed, detail


@pytest.mark.slow
def test_feature_blur_finds_the_region_in_every_tile() -> None:
    """SmolVLM cuts a photo into tiles, and adds the whole one."""
    model = image_text("smolvlm")
    some = examples(3)
    rows = [row for e in some for row in model.split(e.worlds["null"])["model"]]
    share = Drawing(model, "model", "person")(rows)
    pixels = model.collate("model", rows)["pixel_values"]
    assert share.shape == (len(rows), *pixels.shape[2:3], *pixels.shape[4:])
    shown = (share.float() / 255).mean((1, 2, 3))
    (box,) = some[0].worlds["null"]["image"].region("person").boxes
    area = (box[2] - box[0]) * (box[3] - box[1]) / (40 * 30)
    assert float(shown[0]) == pytest.approx(area, abs=0.1)
    before = outputs(model, some)
    with fitted("feature-blur", model, sigma=1.0).applied(model) as blurred:
        assert not same(outputs(blurred, some), before)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["steering", "feature-blur"])
def test_a_mitigated_model_still_keeps_the_contract(llava: ImageText, name: str) -> None:
    """Also behind kept prefixes, where only some tokens of a row are run."""
    settings: dict[str, Any] = {"steering": {"sites": [SITE]}, "feature-blur": {"sigma": 1.0}}[name]
    base, cf = sides(2)
    if name == "feature-blur":
        regions = noise(1)[0].worlds["null"]["image"].regions
        base, cf = (
            [{**one, "image": type(one["image"])(one["image"].source, (), regions)} for one in side]
            for side in (base, cf)
        )
    with fitted(name, llava, **settings).applied(llava) as changed:
        found = failed(conformance(changed, base, cf))
    assert found == {}


def test_feature_blur_smooths_what_the_processor_shows(llava: ImageText) -> None:
    some = examples(4, first=100)
    whole = outputs(llava, some)
    ready, placebo = (
        fitted("feature-blur", llava, sigma=1.0, region=region)
        for region in ("person", "placebo-person")
    )
    with ready.applied(llava) as blurred:
        one = outputs(blurred, some)
    with placebo.applied(llava) as blurred:
        other = outputs(blurred, some)
    assert not same(one, whole)
    assert not same(one, other)
    everywhere = fitted("feature-blur", llava, sigma=1.0, threshold=None, region="objects")
    with everywhere.applied(llava, 1e-6) as blurred:
        assert torch.allclose(outputs(blurred, some)[0], whole[0], atol=1e-3)


def test_feature_blur_is_refused_where_patches_lie_in_an_order_of_their_own() -> None:
    qwen = image_text("qwen2_vl")
    with (
        fitted("feature-blur", qwen).applied(qwen) as blurred,
        pytest.raises(BadModel, match=r"an order of its own.*pixel-blur"),
    ):
        outputs(blurred, examples(2))


def test_sites_at_tokens_are_refused_where_they_mean_nothing(llava: ImageText) -> None:
    with pytest.raises(BadStudy, match="numbers are other words"):
        fitted("steering", llava, sites=["lm/resid.1@-1"])
    with pytest.raises(BadStudy, match="another stage"):
        fitted("steering", llava, sites=["image_encoder/resid.1@image"])
    with pytest.raises(UnknownName, match="image"):
        fitted("steering", llava, sites=["lm/resid.1@imag"])
    with pytest.raises(BadStudy, match="weights know no tokens"):
        fitted("folded-ablation", llava, sites=["lm/head.1[1]@image"])
    ready = fitted("steering", llava, sites=[SITE])
    lm, words = llava.net.get_submodule("model.language_model"), torch.tensor([[1, 5, 6]])
    with ready.applied(llava), pytest.raises(BadData, match="ran without a batch"):
        lm(input_ids=words)
