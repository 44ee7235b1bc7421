"""What must hold for every mitigation: identity at 0, undone on exit, placebos, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fitted_mitigations import SETTINGS, Load, fitted, rng
from mitigated import examples, outputs, same, state, unchanged

from vlbias.errors import BadData, BadStudy, UnknownName
from vlbias.mitigations import MITIGATIONS, make_mitigation
from vlbias.mitigations.base import refuse_overlap


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


@pytest.mark.parametrize("name", list(MITIGATIONS))
def test_a_method_is_called_as_it_is_registered_and_says_where_it_acts(name: str) -> None:
    """A saved fit is found again by this name."""
    method = MITIGATIONS.load(name)
    assert method.name == name
    assert method.place in ("input", "features", "weights")
