"""What must hold for every mitigation: identity at 0, undone on exit, saved and loaded, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mitigated import examples, outputs, same, state, unchanged
from tiny_photos import CLASSES

import vlbias as vb
from vlbias.causal.conformance import conformance
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine, altered_channels
from vlbias.errors import BadData, BadModel, BadStudy, UnknownName
from vlbias.mitigations import MITIGATIONS, make_mitigation
from vlbias.mitigations.base import Fitted, Mitigation, refuse_overlap

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
    "prompt-projection": {"objects": ("dog", "umbrella")},
}
DETECTOR = {
    **{name: SETTINGS[name] for name in ("feature-blur", "pixel-blur", "text-neutral")},
    "mean-ablation": {"sites": ("image_encoder/head.0[0]", "fusion_encoder/text_head.1[1]")},
    # not the neck: it normalises every channel of an image here, which leaves nothing to erase
    "leace": {"sites": ("image_encoder/resid.1",)},
    "sfid": {"sites": ("image_encoder/neck.1",), "features": 4, "unsure": 1.0},
    "prompt-projection": {"site": "text_encoder/resid.1", "objects": ("dog", "umbrella")},
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


def test_every_registered_mitigation_is_tested_here() -> None:
    assert set(SETTINGS) == set(MITIGATIONS)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("family", ["clip", "siglip", "dinov2-bert"])
def test_strength_0_is_the_model_and_strength_1_is_not(load: Load, family: str, name: str) -> None:
    model, some = load(family), examples(4, seed=1)
    before, mitigation = outputs(model, some), fitted(name, load(family))
    with mitigation.applied(model, 0.0) as mitigated:
        assert same(outputs(mitigated, some), before)
    with mitigation.applied(model, 1.0) as mitigated:
        assert not same(outputs(mitigated, some), before)
        assert mitigated.revision != model.revision


@pytest.mark.parametrize("name", SETTINGS)
def test_strength_moves_the_outputs_step_by_step(load: Load, name: str) -> None:
    if name == "text-neutral":
        pytest.skip("words are replaced one by one: tested with the texts")
    model, some = load("clip"), examples(4, seed=1)
    before, mitigation, moved = outputs(model, some), fitted(name, load("clip")), []
    for strength in (1e-4, 0.5, 1.0):
        with mitigation.applied(model, strength) as mitigated:
            now = outputs(mitigated, some)
        moved.append(sum(float((a - b).abs().sum()) for a, b in zip(now, before, strict=True)))
    assert moved[0] < 0.05 * moved[2]
    assert 0 < moved[1] < 1.2 * moved[2]


@pytest.mark.parametrize("name", SETTINGS)
def test_everything_is_as_before_on_exit_and_after_an_exception(load: Load, name: str) -> None:
    model, some = load("clip"), examples(4, seed=1)
    before, held = outputs(model, some), state(model.net)
    mitigation = fitted(name, model)
    assert unchanged(held, state(model.net)), "fitting changed the model"
    with mitigation.applied(model, 0.7) as mitigated:
        outputs(mitigated, some)
    assert unchanged(held, state(model.net))

    def fail(*_: Any) -> None:
        raise RuntimeError("broken off")

    last = model.net.get_submodule("vision_model.encoder.layers.2.mlp")
    hook = last.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="broken off"), mitigation.applied(model) as mitigated:
        outputs(mitigated, some)
    hook.remove()
    assert unchanged(held, state(model.net))
    assert same(outputs(model, some), before)


def test_a_changed_parameter_or_forward_would_be_seen(load: Load) -> None:
    net = torch.nn.Linear(2, 2)
    held = state(net)
    with torch.no_grad():
        net.weight[0, 0] += 1e-6
    assert not unchanged(held, state(net))
    held = state(net)
    net.forward = lambda x: x
    assert not unchanged(held, state(net))


@pytest.mark.parametrize("name", SETTINGS)
def test_saved_and_loaded_it_does_the_same(load: Load, name: str, tmp_path: Path) -> None:
    model, some, mitigation = load("clip"), examples(4, seed=1), fitted(name, load("clip"))
    mitigation.save(tmp_path / "small")
    again = Fitted.load(tmp_path / "small")
    assert (again.mitigation, again.key, again.seen) == (
        mitigation.mitigation,
        mitigation.key,
        mitigation.seen,
    )
    with mitigation.applied(model) as one:
        expected, revision = outputs(one, some), one.revision
    with again.applied(model) as other:
        assert same(outputs(other, some), expected)
        assert other.revision == revision


def test_a_saved_mitigation_with_other_numbers_is_refused(load: Load, tmp_path: Path) -> None:
    fitted("leace", load("clip")).save(tmp_path)
    about = json.loads((tmp_path / "mitigation.json").read_text())
    about["spec"]["svd_tol"] = 0.5
    (tmp_path / "mitigation.json").write_text(json.dumps(about))
    with pytest.raises(BadModel, match="not those that were saved"):
        Fitted.load(tmp_path)
    with pytest.raises(BadModel, match="no saved mitigation"):
        Fitted.load(tmp_path / "nothing")


@pytest.mark.parametrize("name", SETTINGS)
def test_the_placebo_changes_something_else(load: Load, name: str) -> None:
    model, some = load("clip"), examples(4, seed=1)
    mitigation = make_mitigation(name, **SETTINGS[name])
    placebo = mitigation.placebo()
    assert placebo is not None
    assert placebo.spec != mitigation.spec
    before, both = outputs(model, some), []
    for one in (mitigation, placebo):
        with one.fit(model, examples(), rng=rng()).applied(model) as changed:
            both.append(outputs(changed, some))
    assert not same(both[0], both[1])
    assert not same(both[1], before)


def test_contexts_nest_and_are_undone_in_turn(load: Load) -> None:
    model, some = load("clip"), examples(4, seed=1)
    before, held = outputs(model, some), state(model.net)
    blur, words = fitted("feature-blur", model), fitted("text-neutral", model)
    ablation, folded = fitted("mean-ablation", model), fitted("folded-ablation", model)
    with blur.applied(model) as one:
        alone = outputs(one, some)
        with words.applied(one) as two, ablation.applied(two, 0.5) as three:
            assert len({m.revision for m in (model, one, two, three)}) == 4
            assert not same(outputs(three, some), alone)
            # the same operation twice over: half of what is left is the mean
            with folded.applied(three, 0.5) as four:
                assert not same(outputs(four, some), outputs(one, some))
        assert same(outputs(one, some), alone)
    assert unchanged(held, state(model.net))
    assert same(outputs(model, some), before)


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
        ("grounding-dino", "feature-blur"),
        ("grounding-dino", "mean-ablation"),
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


@pytest.mark.parametrize("strength", [-0.1, 1.01, float("nan")])
def test_strength_outside_0_to_1_is_refused(load: Load, strength: float) -> None:
    mitigation = fitted("text-neutral", load("clip"))
    with pytest.raises(BadStudy, match="strength"), mitigation.applied(load("clip"), strength):
        pass


def test_sites_the_model_lacks_are_refused(load: Load) -> None:
    model, some = load("clip"), examples()
    for name in ("feature-blur", "mean-ablation", "leace", "inlp", "sfid"):
        with pytest.raises(UnknownName, match="image_encoder"):
            make_mitigation(name, sites=["image_encodr/resid.1"]).fit(model, some, rng=rng())
        with pytest.raises(BadStudy, match="layer"):
            make_mitigation(name, sites=["image_encoder/resid.9"]).fit(model, some, rng=rng())
    with pytest.raises(BadStudy, match="inside an encoder of images"):
        make_mitigation("feature-blur", sites=["text_encoder/resid.1"]).fit(model, some, rng=rng())
    with pytest.raises(BadStudy, match="without positions"):
        make_mitigation("leace", sites=["text_encoder/resid.1@-1"]).fit(model, some, rng=rng())
    with pytest.raises(BadStudy, match="at least one site"):
        make_mitigation("mean-ablation").fit(model, some, rng=rng())
    grounded = load("grounding-dino")
    with pytest.raises(BadStudy, match="a port inside image_encoder"):
        make_mitigation("leace").fit(grounded, examples(form="grounded"), rng=rng())


def test_unknown_names_settings_and_missing_groups_are_refused(load: Load) -> None:
    with pytest.raises(UnknownName, match="feature-blur"):
        make_mitigation("feature-blurr")
    for name in ("inlp", "sfid"):
        with pytest.raises(BadStudy, match=f"{name}.share"):
            make_mitigation(name, share=1.0)
    with pytest.raises(BadStudy, match="sigmas"):
        make_mitigation("feature-blur", sigmas=2.0)
    with pytest.raises(BadStudy, match="fill"):
        make_mitigation("pixel-blur", fill="white")
    one_group = [e for e in examples() if e.attributes["group"] == "feminine"]
    with pytest.raises(BadData, match="two groups"):
        make_mitigation("leace").fit(load("clip"), one_group, rng=rng())


def test_photos_fitted_on_and_tested_on_are_refused_by_their_ids(load: Load) -> None:
    fit, test = examples(8), [*examples(3, first=6), *examples(4, first=100)]
    ready = make_mitigation("leace").fit(load("clip"), fit, rng=rng())
    for seen in (ready, fit):
        with pytest.raises(BadData, match=r"2 photos .*noise/6, noise/7"):
            refuse_overlap(seen, test)
        refuse_overlap(seen, test[2:])


def test_specs_are_json_and_make_the_mitigation_again() -> None:
    for name, settings in SETTINGS.items():
        one: Mitigation = make_mitigation(name, **settings)
        spec = json.loads(json.dumps(one.spec))
        assert make_mitigation(spec.pop("name"), **spec) == one


def test_export_of_weights_is_an_ordinary_checkpoint(
    load: Load, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    from transformers import AutoModel

    model, some = load("clip"), examples(4, seed=1)
    ready = fitted("folded-ablation", model)
    ready.export(model, tmp_path / "out", str(model_folder("clip")))
    with ready.applied(model) as mitigated:
        expected = outputs(mitigated, some)
    assert same(outputs(vb.load_model(str(tmp_path / "out")), some), expected)
    weight = AutoModel.from_pretrained(tmp_path / "out").vision_model.encoder.layers[0].self_attn
    assert not torch.equal(
        weight.out_proj.weight,
        model.net.vision_model.encoder.layers[0].self_attn.out_proj.weight,
    )


@pytest.mark.parametrize("name", ["feature-blur", "leace", "text-neutral"])
def test_a_wrapped_folder_loads_as_the_mitigated_model(
    load: Load, name: str, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    import gc

    model, some = load("clip"), examples(4, seed=1)
    ready = fitted(name, model)
    ready.export(model, tmp_path / "out", str(model_folder("clip")), 0.5)
    with ready.applied(model, 0.5) as mitigated:
        expected = outputs(mitigated, some)
    again = vb.load_model(str(tmp_path / "out"))
    gc.collect()
    assert again.name == "out"
    assert same(outputs(again, some), expected)
    assert not same(outputs(model, some), expected)
    with pytest.raises(BadModel, match="not empty"):
        ready.export(model, tmp_path / "out", str(model_folder("clip")))


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
