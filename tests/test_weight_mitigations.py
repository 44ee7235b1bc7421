"""Mitigations that change weights: exact where theory says so, frozen elsewhere, right block against wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fitted_mitigations import Load, rng
from mitigated import examples, state, unchanged

from vlbias.causal.example import Example
from vlbias.errors import BadData, BadModel, BadStudy
from vlbias.mitigations import make_mitigation
from vlbias.mitigations.activations import activations, mean_activations
from vlbias.mitigations.crossed_pairs import PairLogits, crossed_pairs
from vlbias.mitigations.sites import site_points
from vlbias.mitigations.weight_changes import group_effects, other_layers

MLP = ("image_encoder/mlp.1",)
TRAINED = {"steps": 30, "check": 10, "rate": 1e-2}


def gap(model: Any, some: list[Example], site: str) -> float:
    """Norm of the groups' difference at a site, the objects being the same."""
    point = site_points(model, [site])[0]
    rows, owners = mean_activations(model, point, some)
    groups = np.array([some[owner].attributes["group"] == "masculine" for owner in owners], int)
    effects = group_effects(rows.double().numpy(), groups, [some[owner] for owner in owners])
    return float(np.linalg.norm(effects[1] - effects[0]))


def test_effects_of_groups_are_those_of_an_ordinary_regression() -> None:
    """An independent way: least squares with dummy variables, by statsmodels."""
    import statsmodels.api as sm

    draw = np.random.default_rng(0)
    groups = np.arange(300) % 3
    there = draw.random((300, 2)) < np.where(groups == 0, 0.7, 0.3)[:, None]
    values = 2.0 * groups + 5.0 * there[:, 0] + draw.normal(size=300)
    some = [
        Example(str(i), str(i), {}, {"present": frozenset(np.array(["a", "b"])[row])}, {})
        for i, row in enumerate(there)
    ]
    found = group_effects(values[:, None], groups, some)[:, 0]
    assert found.sum() == pytest.approx(0, abs=1e-9)
    design = np.column_stack([np.ones(300), groups == 1, groups == 2, there])
    coefficients = sm.OLS(values, design).fit().params
    assert found - found[0] == pytest.approx([0.0, *coefficients[1:3]], abs=0.05)
    raw = values[groups == 2].mean() - values[groups == 0].mean()
    assert abs(raw - 4.0) > 1.0  # what the objects would have added


@pytest.mark.parametrize("goal", ["block", "map"])
def test_behind_the_edited_block_groups_do_not_differ(load: Load, goal: str) -> None:
    model, some = load("clip"), examples()
    place = f"image_encoder/{'resid' if goal == 'block' else 'mlp'}.1"
    before = gap(model, some, place)
    point = site_points(model, [place])[0]
    mean = mean_activations(model, point, some)[0].mean(0)
    edit = make_mitigation("rank-one", sites=MLP, goal=goal).fit(model, some, rng=rng())
    with edit.applied(model) as changed:
        assert gap(changed, some, place) < 1e-4 * before
        # what is common to all stays as it was
        torch.testing.assert_close(
            mean_activations(changed, point, some)[0].mean(0), mean, atol=1e-4, rtol=1e-4
        )
    with edit.applied(model, 0.5) as half:
        assert gap(half, some, place) == pytest.approx(before / 2, rel=1e-3)
    assert set(edit.learned.tensors) == {
        f"vision_model.encoder.layers.1.mlp.fc2.{part}" for part in ("weight", "bias")
    }
    weight = edit.learned.tensors["vision_model.encoder.layers.1.mlp.fc2.weight"]
    assert int(torch.linalg.matrix_rank(weight, atol=1e-5 * float(weight.norm()))) == 1


def test_the_token_that_an_embedding_reads_can_be_named(load: Load) -> None:
    model, some = load("clip"), examples()
    point = site_points(model, ["image_encoder/resid.2"])[0]
    edit = make_mitigation("rank-one", sites=("image_encoder/mlp.2",), token=0)
    groups = np.array([one.attributes["group"] == "masculine" for one in some])

    def apart(model: Any) -> float:
        values = torch.cat([part.at(0) for part in activations(model, point, some)])
        effects = group_effects(values.double().numpy(), groups.astype(int), some)
        return float(np.linalg.norm(effects[1] - effects[0]))

    before = apart(model)
    with edit.fit(model, some, rng=rng()).applied(model) as changed:
        assert apart(changed) < 1e-4 * before
    with pytest.raises(BadData, match="no token 99"):
        make_mitigation("rank-one", sites=MLP, token=99).fit(model, some, rng=rng())


def test_three_groups_are_made_alike_by_an_edit_of_rank_two(load: Load) -> None:
    model, some = load("clip"), examples()
    for number, one in enumerate(some):
        one.attributes["group"] = "abc"[number % 3]  # type: ignore[index]
    edit = make_mitigation("rank-one", sites=MLP).fit(model, some, rng=rng())
    weight = edit.learned.tensors["vision_model.encoder.layers.1.mlp.fc2.weight"]
    assert int(torch.linalg.matrix_rank(weight, atol=1e-5 * float(weight.norm()))) == 2
    point = site_points(model, ["image_encoder/resid.1"])[0]
    groups = np.array(["abc".index(one.attributes["group"]) for one in some])
    with edit.applied(model) as changed:
        rows = mean_activations(changed, point, some)[0].double().numpy()
    assert np.abs(group_effects(rows, groups, some)).max() < 1e-4


def test_training_nears_its_goal_and_touches_its_blocks_alone(load: Load) -> None:
    model, some = load("clip"), examples(form="prompts")
    held = state(model.net)
    made = make_mitigation("located-unlearning", sites=("text_encoder/mlp.0",), **TRAINED)
    one, two = (made.fit(model, some, rng=rng()) for _ in range(2))
    assert one.key == two.key, "the same seed, the same bits"
    assert unchanged(held, state(model.net))
    assert one.learned.notes["held_out_after"] < 0.5 * one.learned.notes["held_out_before"]
    block = "text_model.encoder.layers.0.mlp"
    names = {f"{block}.{linear}.{part}" for linear in ("fc1", "fc2") for part in ("weight", "bias")}
    assert set(one.learned.tensors) == names
    with one.applied(model):
        for name, parameter in model.net.named_parameters():
            same = np.array_equal(parameter.detach().numpy(), held[name][2])
            assert same == (name not in names)


def test_pairs_cross_photos_with_texts_and_their_logits_are_the_models(load: Load) -> None:
    model, some = load("clip"), examples(6, form="prompts")
    groups = np.array([one.attributes["group"] == "masculine" for one in some]).astype(int)
    pairs = crossed_pairs(some, groups, rng())
    assert len(pairs.inputs) == 12
    assert sorted(
        zip(*(pairs.groups[c].tolist() for c in ("image", "text")), strict=True)
    ) == sorted([(a, b) for a in (0, 1) for b in (0, 1)] * 3)
    lazy = PairLogits(model, pairs.inputs, frozenset({"image_encoder"}))
    with torch.no_grad():
        values, index = {}, {}
        for tower in model.towers:
            rows = [row for one in pairs.inputs for row in model.split(one)[tower.name]]
            values[tower.name] = model.encode(tower.name, model.collate(tower.name, rows))
            index[tower.name] = torch.arange(len(rows)).reshape(12, -1)
        wanted = model.join(values, index)["class_logits"]
    torch.testing.assert_close(lazy.all(), wanted, atol=1e-5, rtol=1e-5)
    picked = lazy([7, 2])
    torch.testing.assert_close(picked.detach(), wanted[[7, 2]], atol=1e-5, rtol=1e-5)
    assert picked.requires_grad
    alike = pairs.alike(wanted, ["image"]).numpy()
    # nothing is left of the image's group at the same objects, and what the text's group adds is
    assert np.abs(group_effects(alike, pairs.groups["image"], pairs.photos)).max() < 1e-6
    before = group_effects(wanted.numpy(), pairs.groups["text"], pairs.photos)
    assert group_effects(alike, pairs.groups["text"], pairs.photos) == pytest.approx(before)


def test_training_that_diverges_is_stopped_and_says_so(load: Load) -> None:
    model, some = load("clip"), examples(form="prompts")
    wild = make_mitigation("located-unlearning", sites=MLP, steps=4, check=4, rate=1e30)
    found = wild.fit(model, some, rng=rng()).learned
    assert "diverged at step 2" in found.notes["stopped"]
    assert all(not bool(step.any()) for step in found.tensors.values())


def test_other_layers_are_drawn_where_there_are_any(load: Load) -> None:
    model = load("clip")
    drawn = {other_layers(model, MLP, np.random.default_rng(seed)) for seed in range(20)}
    assert drawn == {("image_encoder/mlp.0",), ("image_encoder/mlp.2",)}
    with pytest.raises(BadStudy, match="2 more layers of image_encoder/mlp"):
        other_layers(model, ("image_encoder/mlp.0", "image_encoder/mlp.1"), rng())
    control = make_mitigation("rank-one", sites=MLP, control="random-layers", draw=1)
    assert str(control.sites_in(model)[0].site) in {"image_encoder/mlp.0", "image_encoder/mlp.2"}


@pytest.mark.parametrize("name", ["rank-one", "located-unlearning"])
def test_what_cannot_be_changed_is_refused(load: Load, name: str) -> None:
    model, some = load("clip"), examples()
    for sites, match in (
        ((), "one or more"),
        (("image_encoder/mlp.9",), "layer"),
        (("image_encoder/head.1[0]",), "without units|one of attn"),
        (("image_encoder",), "one of attn"),
    ):
        with pytest.raises(BadStudy, match=match):
            make_mitigation(name, sites=sites).fit(model, some, rng=rng())
    with pytest.raises(BadStudy, match=f"{name}.control"):
        make_mitigation(name, sites=MLP, control="groups")


def test_settings_of_training_are_checked(load: Load) -> None:
    wrong: dict[str, dict[str, Any]] = {
        "located-unlearning": {"steps": 0, "rate": 0.0, "share": 1.0, "check": 0},
        "rank-one": {"ridge": 0.0, "goal": "layer"},
    }
    for name, settings in wrong.items():
        for setting, value in settings.items():
            with pytest.raises(BadStudy, match=f"{name}.{setting}"):
                make_mitigation(name, sites=MLP, **{setting: value})
    with pytest.raises(BadStudy, match="an MLP"):
        make_mitigation("rank-one", sites=("image_encoder/attn.1",)).fit(
            load("clip"), examples(), rng=rng()
        )
    half = load("clip")
    half.net.bfloat16()
    try:
        with pytest.raises(BadModel, match="float32"):
            make_mitigation("located-unlearning", sites=MLP).fit(
                half, examples(form="prompts"), rng=rng()
            )
    finally:
        half.net.float()
