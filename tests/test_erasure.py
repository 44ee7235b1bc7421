"""Theorems of the mitigations of features and weights: erasure, ablation, folding, selection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mitigated import examples, outputs
from tiny_language import cloze, write_language

import vlbias as vb
from vlbias.errors import BadData, BadStudy
from vlbias.mitigations import make_mitigation
from vlbias.mitigations.ablation import matched_sites
from vlbias.mitigations.activations import features, pooled
from vlbias.mitigations.greedy_search import greedy_sites
from vlbias.mitigations.probes import readable
from vlbias.mitigations.sites import placed

Load = Callable[[str], Any]
SITES = ("image_encoder/resid.0", "image_encoder/resid.2", "image_encoder")


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.integration
@pytest.mark.parametrize("family", ["clip", "dinov2-bert"])
def test_after_leace_a_linear_probe_on_held_out_photos_is_at_chance(
    load: Load, family: str
) -> None:
    model, fit = load(family), examples(240)
    test = examples(160, seed=1, first=1000)
    leace = make_mitigation("leace", sites=SITES).fit(model, fit, rng=rng())
    assert leace.learned.notes == {site: {"rank": 1} for site in SITES}
    before = {site: readable(model, site, fit, test, rng=rng()) for site in SITES}
    with leace.applied(model) as erased:
        after = {site: readable(erased, site, fit, test, rng=rng()) for site in SITES}
    for site in SITES:
        assert before[site].linear > 0.75, site
        assert abs(after[site].linear - 0.5) < 0.1, site
        # reported, not promised: a forest may read what no line can
        assert 0.0 <= after[site].nonlinear <= 1.0


def test_leace_leaves_no_covariance_with_the_group_at_any_site(load: Load) -> None:
    model, fit = load("clip"), examples(120)
    y = np.array([e.attributes["group"] == "feminine" for e in fit], dtype=float)
    leace = make_mitigation("leace", sites=SITES).fit(model, fit, rng=rng())

    def correlation(changed: Any, site: str) -> float:
        x = pooled(changed, placed(changed, [site])[0], fit)[0].double().numpy()
        x = x - x.mean(0)
        size = np.sqrt((x**2).sum(0).sum() * ((y - y.mean()) ** 2).sum())
        return float(np.linalg.norm(x.T @ (y - y.mean())) / size)

    before = {site: correlation(model, site) for site in SITES}
    with leace.applied(model) as erased:
        after = {site: correlation(erased, site) for site in SITES}
    assert min(before.values()) > 0.05, before
    assert max(after.values()) < 1e-4, after
    placebo = make_mitigation("leace", sites=SITES).placebo().fit(model, fit, rng=rng())
    with placebo.applied(model) as other:
        assert correlation(other, "image_encoder") > 0.05


def test_placebo_of_leace_leaves_texts_that_are_shared_by_group_apart(load: Load) -> None:
    # all photos of a group have the same prompts: whatever is drawn for a photo tells its group
    model, fit = load("clip"), examples(24, form="prompts")

    def gap(changed: Any) -> float:
        x, owner = pooled(changed, placed(changed, ["text_encoder"])[0], fit)
        woman = np.array([fit[n].attributes["group"] == "feminine" for n in owner])
        return float((x[woman].mean(0) - x[~woman].mean(0)).norm())

    before = gap(model)
    for control in (False, True):
        leace = make_mitigation("leace", sites=("text_encoder",), control=control)
        with leace.fit(model, fit, rng=rng()).applied(model) as erased:
            left = gap(erased) / before
        assert (left > 0.5) if control else (left < 1e-3), (control, left)


@pytest.mark.integration
def test_inlp_ends_when_no_probe_reads_the_group(load: Load) -> None:
    model, fit = load("clip"), examples(200)
    test = examples(120, seed=1, first=1000)
    inlp = make_mitigation("inlp", most=10).fit(model, fit, rng=rng())
    notes = inlp.learned.notes["image_encoder"]
    assert notes["held_out_accuracy"][0] > 0.65
    assert notes["held_out_accuracy"][-1] <= 0.52 or notes["rank"] == 10
    right = inlp.learned.tensors["image_encoder.right"].double()
    assert torch.allclose(right @ right.T, torch.eye(len(right), dtype=torch.double), atol=1e-6)
    before = readable(model, "image_encoder", fit, test, rng=rng()).linear
    with inlp.applied(model) as projected:
        assert readable(projected, "image_encoder", fit, test, rng=rng()).linear < before - 0.2
    for seed in range(3):
        placebo = make_mitigation("inlp", most=10).placebo()
        drawn = placebo.fit(model, fit, rng=np.random.default_rng(seed))
        assert drawn.learned.notes["image_encoder"]["rank"] == notes["rank"]


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
    place, means = placed(model, [site])[0], []
    for group in ("feminine", "masculine"):
        mine = [e for e in uneven if e.attributes["group"] == group]
        means.append(torch.cat([v.tokens[0] for v in features(model, place, mine)]).mean(0))
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


def test_sfid_sets_the_chosen_features_to_their_neutral_value(load: Load) -> None:
    model, some = load("clip"), examples(6, seed=1)
    ready = make_mitigation("sfid", features=4, unsure=0.9).fit(model, examples(80), rng=rng())
    chosen = ready.learned.tensors["image_encoder.chosen"]
    with ready.applied(model) as changed:
        x = outputs(changed, some)[0]
    plain = outputs(model, some)[0]
    assert torch.allclose(x.norm(dim=1), plain.norm(dim=1), rtol=1e-5)
    ratio = x[:, chosen] / x[:, chosen[:1]]
    assert torch.allclose(ratio, ratio[:1].expand_as(ratio), rtol=1e-3)
    with pytest.raises(BadData, match="unsure of none"):
        make_mitigation("sfid", unsure=0.51, trees=1).fit(model, examples(80), rng=rng())


def test_clip_clip_drops_the_most_informative_dimensions_not_the_first(load: Load) -> None:
    from sklearn.feature_selection import mutual_info_classif

    model, fit = load("clip"), examples(120)
    ready = make_mitigation("clip-clip", features=3).fit(model, fit, rng=rng())
    chosen = ready.learned.tensors["chosen"].tolist()
    assert chosen != [0, 1, 2]
    x = pooled(model, placed(model, ["image_encoder"])[0], fit)[0].double().numpy()
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    y = [e.attributes["group"] for e in fit]
    told = mutual_info_classif(x, y, random_state=1)
    assert told[chosen].min() > np.median(told)
    with ready.applied(model) as changed:
        for encoded in outputs(changed, examples(4)):
            assert not encoded[:, chosen].any()
    with pytest.raises(BadStudy, match="fewer than the 12"):
        make_mitigation("clip-clip", features=12).fit(model, fit, rng=rng())


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
    inside = torch.nn.functional.normalize(pooled(model, placed(model, [site])[0], asked)[0], dim=1)
    with one.fit(model, some, rng=rng()).applied(model) as projected:
        tokens = torch.cat(
            [v.tokens[0] for v in features(projected, placed(projected, [site])[0], some)]
        )
    plain = torch.cat([v.tokens[0] for v in features(model, placed(model, [site])[0], some)])
    assert float((tokens @ inside.T).abs().max()) < 1e-4 < float((plain @ inside.T).abs().max())
    assert torch.allclose(tokens.norm(dim=1), plain.norm(dim=1), rtol=1e-4)
    with pytest.raises(BadData, match="needs a photo"):
        one.fit(model, rng=rng())
    with pytest.raises(BadStudy, match="port of the text encoder"):
        replace(one, site="image_encoder/resid.0").fit(model, some, rng=rng())


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
    from dataclasses import replace

    return replace(cloze(who), after=after)
