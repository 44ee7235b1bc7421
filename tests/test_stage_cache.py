"""Stages that are given the same bytes again are not run again, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from fitted_mitigations import DETECTOR, OMDET, Load, rng
from mitigated import examples, outputs, same, state, unchanged

from vlbias.mitigations import make_mitigation
from vlbias.mitigations.activations import batch_activation
from vlbias.mitigations.sites import site_points
from vlbias.studies.mitigation.work.affected_stages import changed_stages
from vlbias.studies.mitigation.work.stage_cache import StageCache


@contextmanager
def counted(model: Any) -> Iterator[dict[str, int]]:
    """How often each of the first stages is run inside the context, what is cached apart."""
    runs: dict[str, int] = {}
    handles = []
    for stage in model.towers[0].stages[:2]:
        first = next(model.net.get_submodule(stage.module).children())

        def count(*_: Any, name: str = stage.name) -> None:
            runs[name] = runs.get(name, 0) + 1

        handles.append(first.register_forward_hook(count))
    try:
        yield runs
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("family", ["grounding-dino", "omdet-turbo"])
@pytest.mark.parametrize("name", DETECTOR)
def test_what_is_cached_is_what_is_computed(load: Load, family: str, name: str) -> None:
    model, some = load(family), examples(4, seed=1, form="grounded")
    settings = (OMDET if family == "omdet-turbo" else DETECTOR)[name]
    mitigation = make_mitigation(name, **settings).fit(model, examples(form="grounded"), rng=rng())
    cache, held = StageCache(model), state(model.net)
    before = outputs(model, some)
    with cache.used(()):
        assert same(outputs(model, some), before)
        assert same(outputs(model, some), before), "from the cache"
    with mitigation.applied(model) as mitigated:
        expected = outputs(mitigated, some)
    assert not same(expected, before)
    for _ in range(2):
        with (
            mitigation.applied(model) as mitigated,
            cache.used(changed_stages(mitigation.mitigation, model)),
        ):
            assert same(outputs(mitigated, some), expected)
    assert same(outputs(model, some), before)
    assert unchanged(held, state(model.net))


def test_only_what_is_new_is_run(load: Load) -> None:
    model, some = load("grounding-dino"), examples(4, seed=1, form="grounded")
    cache = StageCache(model)
    with counted(model) as runs, cache.used(()):
        outputs(model, some)
        once = dict(runs)
        outputs(model, some)
        assert runs == once
        outputs(model, examples(4, seed=2, form="grounded"))  # other photos with the same texts
        assert runs["image_encoder"] > once["image_encoder"]
        assert runs["text_encoder"] == once["text_encoder"]
    with counted(model) as runs, cache.used({"image_encoder"}):
        outputs(model, some)
        assert set(runs) == {"image_encoder"}


def test_beyond_its_limit_nothing_is_kept(load: Load) -> None:
    model, some = load("grounding-dino"), examples(2, seed=1, form="grounded")
    cache = StageCache(model, limit=100)
    with counted(model) as runs, cache.used(()):
        before = outputs(model, some)
        once = dict(runs)
        assert same(outputs(model, some), before)
        assert runs == {name: 2 * count for name, count in once.items()}


def test_a_method_is_asked_for_its_places(load: Load) -> None:
    model = load("grounding-dino")
    assert changed_stages(make_mitigation("feature-blur"), model) == {"image_encoder"}, (
        "its own sites"
    )
    assert (
        changed_stages(make_mitigation("pixel-blur"), model) == changed_stages(None, model) == set()
    )
    sites = ("image_encoder/resid.1",)
    assert changed_stages(make_mitigation("leace", sites=sites), model) == {"image_encoder"}


def test_nothing_behind_a_value_that_is_asked_for_is_run(load: Load) -> None:
    model, (one,) = load("grounding-dino"), examples(1, form="grounded")
    (place,) = site_points(model, ["image_encoder/resid.0"])
    batch = model.collate("model", model.split(one.worlds["null"])["model"])
    held = state(model.net)
    decoder = model.net.get_submodule("model.decoder")
    ran: list[str] = []
    handle = decoder.register_forward_hook(lambda *_: ran.append("decoder"))
    value = batch_activation(model, place, batch)
    handle.remove()
    assert not ran
    assert torch.isfinite(value).all()
    assert unchanged(held, state(model.net))
