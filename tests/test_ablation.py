"""Ablation of units by their mean: as a hook, folded into weights, and matched controls."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from fitted_mitigations import Load, rng
from mitigated import examples, outputs
from tiny_language import cloze, write_language

import vlbias as vb
from vlbias.errors import BadStudy
from vlbias.mitigations import make_mitigation
from vlbias.mitigations.ablation import matched_sites
from vlbias.mitigations.activations import activations
from vlbias.mitigations.greedy_search import greedy_sites
from vlbias.mitigations.sites import site_points


@pytest.mark.parametrize("strength", [0.4, 1.0])
@pytest.mark.parametrize(
    "sites",
    [
        ("image_encoder/head.1[0]",),
        ("image_encoder/head.0[1]", "image_encoder/head.0[0]", "text_encoder/head.2[1]"),
        ("image_encoder/neuron.1[3,7]",),
    ],
)
@pytest.mark.parametrize("family", ["clip", "siglip", "dinov2-bert"])
def test_folding_an_ablation_equals_the_hook(
    load: Load, family: str, sites: tuple[str, ...], strength: float
) -> None:
    model, some = load(family), examples(6, seed=1)
    fit = {
        name: make_mitigation(name, sites=sites).fit(model, examples(), rng=rng())
        for name in ("mean-ablation", "folded-ablation")
    }
    found = {}
    for name, ready in fit.items():
        with ready.applied(model, strength) as changed:
            found[name] = outputs(changed, some)
    for hooked, folded in zip(found["mean-ablation"], found["folded-ablation"], strict=True):
        assert float((hooked - folded).abs().max() / hooked.abs().max()) < 1e-5


def test_an_output_that_is_linear_can_be_folded_too(load: Load) -> None:
    model, some = load("dinov2-bert"), examples(6, seed=1)
    found = []
    for name in ("mean-ablation", "folded-ablation"):
        ready = make_mitigation(name, sites=["text_encoder/mlp.1"])
        with ready.fit(model, examples(), rng=rng()).applied(model, 0.7) as changed:
            found.append(outputs(changed, some)[1])
    assert float((found[0] - found[1]).abs().max() / found[0].abs().max()) < 1e-5


def test_what_cannot_be_folded_is_refused(load: Load) -> None:
    model = load("clip")
    ready = make_mitigation("folded-ablation", sites=["image_encoder/attn.1"])
    fitted = ready.fit(model, examples(), rng=rng())
    with pytest.raises(BadStudy, match="linear map"), fitted.applied(model):
        pass
    with pytest.raises(BadStudy, match="by_position"):
        make_mitigation("folded-ablation", sites=["image_encoder/head.1[0]"], by_position=True)


def test_the_mean_is_balanced_between_the_groups(load: Load) -> None:
    model = load("clip")
    many = examples(24)
    uneven = [e for i, e in enumerate(many) if e.attributes["group"] == "feminine" or i < 8]
    site = "image_encoder/head.1[1]"
    ready = make_mitigation("mean-ablation", sites=[site]).fit(model, uneven, rng=rng())
    place, means = site_points(model, [site])[0], []
    for group in ("feminine", "masculine"):
        mine = [e for e in uneven if e.attributes["group"] == group]
        means.append(torch.cat([v.tokens[0] for v in activations(model, place, mine)]).mean(0))
    assert torch.allclose(ready.learned.tensors[site], (means[0] + means[1]) / 2, atol=1e-5)
    assert not torch.allclose(means[0], means[1], atol=1e-3)


def test_means_by_position_keep_each_tokens_own(load: Load) -> None:
    model, site = load("clip"), "image_encoder/mlp.1"
    ready = make_mitigation("mean-ablation", sites=[site], by_position=True)
    fitted = ready.fit(model, examples(), rng=rng())
    assert fitted.learned.tensors[site].shape == (5, 16)
    with pytest.raises(BadStudy, match="equally many tokens"):
        make_mitigation("mean-ablation", sites=["text_encoder/mlp.1"], by_position=True).fit(
            model, examples(), rng=rng()
        )


def test_controls_are_matched_layer_by_layer(load: Load) -> None:
    model = load("clip")
    sites = ("image_encoder/neuron.0[3]", "image_encoder/neuron.0[4]", "text_encoder/head.1[0]")
    drawn = {matched_sites(model, sites, np.random.default_rng(i)) for i in range(20)}
    assert len(drawn) > 10
    for one in drawn:
        assert sum("image_encoder/neuron.0[" in site for site in one) == 2
        assert one[-1] == "text_encoder/head.1[1]"
        assert not set(one) & set(sites)
    with pytest.raises(BadStudy, match="single units"):
        matched_sites(model, ["image_encoder/attn.1"], rng())
    mitigation: Any = make_mitigation("mean-ablation", sites=sites)
    controls = mitigation.controls(3)
    assert controls[0] == mitigation.placebo()
    learned = [c.fit(model, examples(), rng=rng()).learned.notes["sites"] for c in controls]
    assert len(set(map(tuple, learned))) > 1


def test_sets_are_tried_out_since_units_interact() -> None:
    worth = {("a",): 3.0, ("b",): 2.9, ("c",): 1.0}

    def reduction(sites: tuple[str, ...]) -> float:
        if set(sites) == {"a", "b"}:
            return 3.0  # b does what a did
        return sum(worth[(site,)] for site in sites)

    chosen = greedy_sites(("a", "b", "c"), reduction, target=3.9)
    assert (chosen.sites, chosen.reductions, chosen.reached) == (("a", "c"), (3.0, 4.0), True)
    assert chosen.tried == 5
    stuck = greedy_sites(("a", "b"), reduction, target=10.0)
    assert (stuck.sites, stuck.reached) == (("a",), False)
    with pytest.raises(BadStudy, match="none twice"):
        greedy_sites(("a", "a"), reduction, target=1.0)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_heads_of_language_models_are_ablated_and_folded(kind: str, tmp_path: Any) -> None:
    model: Any = vb.load_model(str(write_language(kind, tmp_path / kind)))
    texts = ("nurse", "clerk", "doctor", "lady", "man", "woman")
    after = " was here." if kind == "bert" else ""
    some = [
        vb.Example(who, who, {"null": {"text": _cloze(who, after)}}, {}, {"group": "fm"[i % 2]})
        for i, who in enumerate(texts)
    ]
    sites, before = ("lm/head.1[0]", "lm/head.0[1]"), outputs(model, some)
    found = []
    for name in ("mean-ablation", "folded-ablation"):
        ready = make_mitigation(name, sites=sites).fit(model, some, rng=rng())
        if kind == "llama" and name == "folded-ablation":
            with pytest.raises(BadStudy, match="with a bias"), ready.applied(model):
                pass
            continue
        with ready.applied(model) as changed:
            found.append(outputs(changed, some)[0])
    assert not torch.allclose(found[0], before[0], atol=1e-4)
    assert all(torch.allclose(one, found[0], atol=1e-5) for one in found)


def _cloze(who: str, after: str) -> Any:
    return replace(cloze(who), after=after)
