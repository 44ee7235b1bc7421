"""Theorems of the erasure of features: no covariance, no probe, no chosen dimension is left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fitted_mitigations import Load, rng
from mitigated import examples, outputs

from vlbias.errors import BadData, BadStudy
from vlbias.mitigations import make_mitigation
from vlbias.mitigations.activations import mean_activations
from vlbias.mitigations.probes import readable
from vlbias.mitigations.sites import site_points

SITES = ("image_encoder/resid.0", "image_encoder/resid.2", "image_encoder")


@pytest.mark.integration
@pytest.mark.parametrize("family", [pytest.param("clip", marks=pytest.mark.slow), "dinov2-bert"])
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
        x = mean_activations(changed, site_points(changed, [site])[0], fit)[0].double().numpy()
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
        x, owner = mean_activations(changed, site_points(changed, ["text_encoder"])[0], fit)
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
        make_mitigation("sfid", features=4, unsure=0.51, trees=1).fit(
            model, examples(80), rng=rng()
        )


def test_clip_clip_drops_the_most_informative_dimensions_not_the_first(load: Load) -> None:
    from sklearn.feature_selection import mutual_info_classif

    model, fit = load("clip"), examples(120)
    ready = make_mitigation("clip-clip", features=3).fit(model, fit, rng=rng())
    chosen = ready.learned.tensors["chosen"].tolist()
    assert chosen != [0, 1, 2]
    x = mean_activations(model, site_points(model, ["image_encoder"])[0], fit)[0].double().numpy()
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    y = [e.attributes["group"] for e in fit]
    told = mutual_info_classif(x, y, random_state=1)
    assert told[chosen].min() > np.median(told)
    with ready.applied(model) as changed:
        for encoded in outputs(changed, examples(4)):
            assert not encoded[:, chosen].any()
    with pytest.raises(BadStudy, match="fewer than the 12"):
        make_mitigation("clip-clip", features=12).fit(model, fit, rng=rng())
