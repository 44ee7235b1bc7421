"""Steering vectors and features of sparse autoencoders: what is moved, by how much, and their placebos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fitted_mitigations import Load, rng
from mitigated import examples, outputs, same
from safetensors.torch import save_file
from torch import Tensor

from vlbias.errors import BadData, BadModel, BadStudy
from vlbias.mitigations import make_mitigation
from vlbias.mitigations.activations import mean_activations
from vlbias.mitigations.base import Fitted
from vlbias.mitigations.sites import site_points
from vlbias.mitigations.sparse_autoencoder import read_autoencoder, train_autoencoder

SITE = "image_encoder/resid.1"


def steering(model: Any, **settings: Any) -> Any:
    return make_mitigation("steering", **{"sites": [SITE], **settings}).fit(
        model, examples(), rng=rng()
    )


def edited(ready: Fitted, model: Any, x: Tensor, strength: float = 1.0) -> Tensor:
    """What a fitted mitigation makes of features at its site."""
    mitigation: Any = ready.mitigation
    point = mitigation.sites_in(model)[0]
    mine = {part: ready.learned.tensors[f"{point.site}.{part}"] for part in mitigation.parts}
    changed: Tensor = mitigation.editing(point, mine, strength)(x)
    return changed


@pytest.mark.parametrize("mode", ["ablate", "add"])
def test_the_placebo_of_steering_moves_every_feature_as_far_in_another_direction(
    load: Load, mode: str
) -> None:
    model = load("clip")
    ready = steering(model, mode=mode)
    placebo = ready.mitigation.placebo().fit(model, examples(), rng=rng())
    x = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(0))
    one, other = (edited(each, model, x) - x for each in (ready, placebo))
    assert torch.allclose(one.norm(dim=-1), other.norm(dim=-1), rtol=1e-5)
    cosine = torch.nn.functional.cosine_similarity(one, other, dim=-1).abs()
    assert float(cosine.max()) < 0.9


def test_ablating_a_direction_brings_the_groups_means_together_along_it(load: Load) -> None:
    model = load("clip")
    ready = steering(model)
    point = site_points(model, [SITE])[0]
    x, owner = mean_activations(model, point, examples())
    side = torch.tensor([examples()[i].attributes["group"] == "masculine" for i in owner])
    direction = x[side].mean(0) - x[~side].mean(0)
    # an independent computation of the direction
    read = ready.learned.tensors[f"{SITE}.read"]
    assert torch.allclose(read, direction / direction.norm(), atol=1e-4)
    after = edited(ready, model, x)
    apart = (after[side].mean(0) - after[~side].mean(0)) @ direction / direction.norm()
    assert abs(float(apart)) < 1e-4 * float(direction.norm()) + 1e-5
    half = edited(ready, model, x, 0.5)
    assert torch.allclose(half, (x + after) / 2, atol=1e-5)


def test_adding_moves_towards_the_group_that_is_named(load: Load) -> None:
    model, x = load("clip"), torch.zeros(1, 16)
    one = edited(steering(model, mode="add", towards="feminine"), model, x)
    other = edited(steering(model, mode="add", towards="masculine"), model, x)
    assert torch.allclose(one, -other, atol=1e-5)
    twice = edited(steering(model, mode="add", towards="feminine", coefficient=2.0), model, x)
    assert torch.allclose(twice, 2 * one, atol=1e-5)


def test_what_cannot_be_steered_is_refused(load: Load) -> None:
    model = load("clip")
    with pytest.raises(BadStudy, match="ablate or add"):
        make_mitigation("steering", mode="push")
    with pytest.raises(BadStudy, match="not 0"):
        make_mitigation("steering", coefficient=0.0)
    with pytest.raises(BadStudy, match="one of the groups feminine, masculine"):
        steering(model, towards="women")
    several = [
        type(e)(e.id, e.cluster, e.worlds, e.targets, {"group": "abc"[i % 3]})
        for i, e in enumerate(examples())
    ]
    with pytest.raises(BadData, match="3 groups"):
        make_mitigation("steering", sites=[SITE]).fit(model, several, rng=rng())


def weights(width: int = 16, count: int = 40) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    drawn = {
        "W_enc": torch.randn(width, count, generator=generator),
        "b_enc": 0.3 * torch.randn(count, generator=generator),
        "W_dec": torch.randn(count, width, generator=generator),
        "b_dec": torch.randn(width, generator=generator),
    }
    return drawn


def written(folder: Path, given: dict[str, Tensor], **settings: Any) -> Path:
    folder.mkdir()
    save_file({k: v.contiguous() for k, v in given.items()}, folder / "sae_weights.safetensors")
    if settings:
        (folder / "cfg.json").write_text(json.dumps(settings))
    return folder


def test_autoencoders_are_read_as_their_libraries_compute_them(tmp_path: Path) -> None:
    own, x = weights(), torch.randn(7, 16, generator=torch.Generator().manual_seed(2))
    plain = read_autoencoder(written(tmp_path / "plain", own))
    centred = (x - own["b_dec"]) @ own["W_enc"] + own["b_enc"]
    assert torch.allclose(plain.features(x), centred.relu(), atol=1e-5)
    jump = {**own, "threshold": torch.full((40,), 1.5)}
    save_file({"x": torch.zeros(1)}, written(tmp_path / "jump", jump) / "sparsity.safetensors")
    found = read_autoencoder(tmp_path / "jump").features(x)
    before = x @ own["W_enc"] + own["b_enc"]
    assert torch.allclose(found, torch.where(before > 1.5, before, 0.0), atol=1e-5)
    linear = {
        "encoder.weight": own["W_enc"].T,
        "encoder.bias": own["b_enc"],
        "W_dec": own["W_dec"],
        "b_dec": own["b_dec"],
    }
    sparse = read_autoencoder(written(tmp_path / "sparsify", linear, k=5)).features(x)
    assert ((sparse > 0).sum(1) <= 5).all()
    kept = centred.relu().topk(5, dim=1)
    assert torch.allclose(sparse.gather(1, kept.indices), kept.values, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "spoil", "match"),
    [
        ({"architecture": "gated"}, None, "expected architecture standard"),
        ({"architecture": "topk"}, None, "topk with k"),
        ({"normalize_activations": "layer_norm"}, None, "without scaled activations"),
        ({}, "b_enc", "no b_enc"),
        ({}, "W_dec", "no W_dec"),
    ],
)
def test_autoencoders_that_are_computed_otherwise_are_refused(
    tmp_path: Path, settings: dict[str, Any], spoil: str | None, match: str
) -> None:
    given = {key: value for key, value in weights().items() if key != spoil}
    with pytest.raises(BadModel, match=match):
        read_autoencoder(written(tmp_path / "sae", given, **settings))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadModel, match=r"one \.safetensors file"):
        read_autoencoder(tmp_path / "empty")


def test_a_training_explains_more_than_it_did_at_first() -> None:
    draw = np.random.default_rng(3)
    causes = draw.exponential(size=(2000, 12)) * (draw.random((2000, 12)) < 0.2)
    x = torch.tensor(causes @ draw.standard_normal((12, 16))).float()
    short, long = (
        train_autoencoder(x, count=32, k=4, steps=steps, rng=np.random.default_rng(0)) for steps in (1, 300)
    )  # fmt: skip
    assert long.unexplained(x) < 0.5 * short.unexplained(x)
    again = train_autoencoder(x, count=32, k=4, steps=300, rng=np.random.default_rng(0))
    assert torch.equal(again.encoder, long.encoder)


def test_what_the_autoencoder_does_not_explain_is_kept(load: Load, tmp_path: Path) -> None:
    """With no feature changed, features stay bit by bit, however poor the autoencoder is."""
    model = load("clip")
    folder = written(tmp_path / "sae", weights())
    sae = make_mitigation("sae", sites=[SITE], folder=str(folder), features=[3, 7])
    ready = sae.fit(model, examples(), rng=rng())
    x = torch.randn(50, 16, generator=torch.Generator().manual_seed(4))
    net = read_autoencoder(folder)
    features = net.features(x)
    expected = x - features[:, [3, 7]] @ net.decoder[[3, 7]]
    assert torch.allclose(edited(ready, model, x), expected, atol=1e-4)
    quiet = (features[:, [3, 7]] == 0).all(1)
    assert quiet.any()
    assert not quiet.all()
    assert torch.equal(edited(ready, model, x)[quiet], x[quiet])


def test_features_that_differ_between_groups_are_chosen_and_the_placebo_takes_others(
    load: Load, tmp_path: Path
) -> None:
    model, some = load("clip"), examples(4, seed=1)
    folder = written(tmp_path / "sae", weights())
    sae = make_mitigation("sae", sites=[SITE], folder=str(folder), most=3)
    ready = sae.fit(model, examples(), rng=rng())
    placebo: Any = sae.placebo()
    drawn = placebo.fit(model, examples(), rng=rng())
    chosen, others = (set(r.learned.notes[SITE]["features"]) for r in (ready, drawn))
    assert len(chosen) == len(others) == 3
    assert not chosen & others
    least = min(ready.learned.notes[SITE]["apart"])
    assert least >= max(drawn.learned.notes[SITE]["apart"])
    before = outputs(model, some)
    with ready.applied(model) as changed:
        assert not same(outputs(changed, some), before)
    assert same(outputs(model, some), before)
    ready.save(tmp_path / "saved")
    assert Fitted.load(tmp_path / "saved").key == ready.key


def test_an_autoencoder_of_another_width_is_named(load: Load, tmp_path: Path) -> None:
    folder = written(tmp_path / "sae", weights(width=12))
    sae = make_mitigation("sae", sites=[SITE], folder=str(folder))
    with pytest.raises(BadStudy, match=r"width 12.*width 16"):
        sae.fit(load("clip"), examples(), rng=rng())
    wide = written(tmp_path / "wide", weights())
    many = make_mitigation("sae", sites=[SITE], folder=str(wide), features=[40])
    with pytest.raises(BadStudy, match="up to 39"):
        many.fit(load("clip"), examples(), rng=rng())
