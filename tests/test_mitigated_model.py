"""Mitigated models of every family keep their contract, their effects and their presence scores."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fitted_mitigations import DETECTOR, OMDET, SETTINGS, Load, fitted, rng
from mitigated import examples, outputs, same, state, unchanged
from tiny_photos import CLASSES

import vlbias as vb
from vlbias.causal.conformance import conformance
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine, altered_channels
from vlbias.mitigations import make_mitigation


@pytest.mark.parametrize(
    ("family", "name"),
    [
        *(
            (family, name)
            for family in ("grounding-dino", "grounding-dino-dinov2")
            for name in DETECTOR
        ),
        *(("omdet-turbo", name) for name in OMDET),
    ],
)
def test_grounded_detectors_are_mitigated_too(load: Load, family: str, name: str) -> None:
    model, some = load(family), examples(2, seed=1, form="grounded")
    mitigation = make_mitigation(name, **(OMDET if family == "omdet-turbo" else DETECTOR)[name])
    before, held = outputs(model, some), state(model.net)
    ready = mitigation.fit(model, examples(form="grounded"), rng=rng())
    with ready.applied(model) as mitigated:
        assert not same(outputs(mitigated, some), before)
    assert unchanged(held, state(model.net))
    assert same(outputs(model, some), before)


@pytest.mark.parametrize("name", ["feature-blur", "leace", "sfid", "prompt-projection"])
@pytest.mark.parametrize("family", ["owlv2", "siglip2", "openclip"])
def test_other_families_are_mitigated_too(load: Load, family: str, name: str) -> None:
    model, some = load(family), examples(2, seed=1, form="prompts")
    before = outputs(model, some)
    settings = {**SETTINGS[name], **({"sites": ("image_encoder",)} if name == "leace" else {})}
    ready = make_mitigation(name, **settings).fit(model, examples(form="prompts"), rng=rng())
    with ready.applied(model) as mitigated:
        assert not same(outputs(mitigated, some), before)
    assert same(outputs(model, some), before)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("clip", "feature-blur"),
        ("clip", "mean-ablation"),
        ("clip", "leace"),
        ("dinov2-bert", "feature-blur"),
        pytest.param("grounding-dino", "feature-blur", marks=pytest.mark.slow),
        pytest.param("grounding-dino", "mean-ablation", marks=pytest.mark.slow),
    ],
)
def test_a_mitigated_model_keeps_the_adapter_contract(load: Load, family: str, name: str) -> None:
    grounded = family == "grounding-dino"
    form = "grounded" if grounded else "caption"
    settings = DETECTOR[name] if grounded else SETTINGS[name]
    model = load(family)
    ready = make_mitigation(name, **settings).fit(model, examples(form=form), rng=rng())
    some = examples(4, seed=2, form=form)
    base, cf = ([e.worlds["null"] for e in some[i::2]] for i in (0, 1))
    with ready.applied(model, 0.8) as mitigated:
        findings = conformance(mitigated, base, cf)
    assert {f.name: f.detail for f in findings if not f.passed} == {}


@pytest.mark.parametrize("name", ["feature-blur", "mean-ablation", "leace"])
def test_effects_of_a_mitigated_model_follow_its_own_forward_pass(load: Load, name: str) -> None:
    model, some = load("clip"), examples(4, seed=2)
    pairs = [
        vb.Example(e.id, e.cluster, {"null": e.worlds["null"], "cf": o.worlds["null"]})
        for e, o in zip(some[::2], some[1::2], strict=True)
    ]
    contrast = Contrast("null", "cf")
    with fitted(name, model).applied(model, 0.6) as mitigated:
        sites = [vb.Mediator.of([text]) for text in ("image_encoder", "image_encoder/attn.1")]
        altered = altered_channels(pairs, [contrast])
        arms = {
            (arm.mediator, arm.arm): arm.readout["score"]
            for arm in Engine(mitigated, [contrast], sites, altered=altered).run(pairs)
        }
        plain = [
            mitigated.join(
                {t.name: mitigated.encode(t.name, _batch(mitigated, t.name, pairs, world))
                 for t in mitigated.towers},
                {t.name: torch.arange(len(pairs))[:, None] for t in mitigated.towers},
            )["score"]
            for world in ("null", "cf")
        ]  # fmt: skip
    assert torch.allclose(arms["", "00"], plain[0], atol=1e-6)
    assert torch.allclose(arms["", "11"], plain[1], atol=1e-6)
    assert not torch.allclose(arms["image_encoder/attn.1", "01"], plain[0], atol=1e-4)


def _batch(model: Any, tower: str, pairs: Any, world: str) -> Any:
    rows = [row for e in pairs for row in model.split(e.worlds[world])[tower]]
    return model.collate(tower, rows)


def test_presence_scores_of_class_prompts_go_through_it(load: Load) -> None:
    model, some = load("clip"), examples(4, form="prompts")
    with fitted("feature-blur", model, "prompts").applied(model) as mitigated:
        frame = vb.potential_outcomes(
            mitigated,
            [
                vb.Example(
                    e.id, e.cluster, {"null": e.worlds["null"], "both": e.worlds["null"]},
                    e.targets, e.attributes,
                )
                for e in some
            ],
            outcomes=["presence"],
            classes=CLASSES,
        )  # fmt: skip
    assert len(frame) == 2 * 4 * len(CLASSES)
    assert frame["value"].notna().all()
