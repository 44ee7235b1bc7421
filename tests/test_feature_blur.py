"""Region feature blur by hand: which tokens, what they become, and regions that cannot be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fitted_mitigations import Load, rng
from mitigated import examples, outputs
from PIL import Image
from torch import Tensor

import vlbias as vb
from vlbias.causal.distinct import RUNNING
from vlbias.causal.region import Region
from vlbias.errors import BadData, BadStudy
from vlbias.mitigations import make_mitigation
from vlbias.mitigations.feature_change_map import feature_changes
from vlbias.mitigations.region_tokens import Drawing, on_grid
from vlbias.mitigations.token_smoothing import Smoothing, covered_tokens


def picture(*boxes: tuple[float, float, float, float], size: tuple[int, int] = (28, 28)) -> Any:
    return vb.Picture(Image.new("RGB", size, "grey"), (), (Region("person", boxes),))


def example(shown: Any, number: int = 0) -> vb.Example:
    world = {"image": shown, "text": "a photo of a man with a dog"}
    return vb.Example(
        f"one/{number}", f"one/{number}", {"null": world}, {"size": shown.source.size}
    )


def test_the_region_goes_through_the_models_own_processor(load: Load) -> None:
    # 28 x 28 px as they are: the left upper patch of four is covered, the right upper one half
    share = Drawing(load("clip"), "image_encoder", "person")([picture((0, 0, 21, 14))])
    covered, before, grid = on_grid(share, torch.zeros(1, 5, 16), None)
    assert (before, grid) == (1, [(2, 2)])
    assert torch.allclose(covered, torch.tensor([[1.0, 0.5, 0.0, 0.0]]), atol=0.02)


def test_cropping_and_padding_are_the_processors(load: Load) -> None:
    # CLIP crops the middle of a wide image: a region at its left end is not seen at all
    wide = picture((0, 0, 10, 28), size=(56, 28))
    share = Drawing(load("clip"), "image_encoder", "person")([wide])
    assert int(share.sum()) == 0
    # OWLv2 pads below: a region that covers the photo covers its upper half only
    share = Drawing(load("owlv2"), "image_encoder", "person")(
        [picture((0, 0, 84, 42), size=(84, 42))]
    )
    covered, before, grid = on_grid(share, torch.zeros(1, 10, 16), None)
    assert (before, grid) == (1, [(3, 3)])
    assert float(covered[0, :3].min()) > 0.95
    assert float(covered[0, 6:].max()) < 0.05


def test_patches_of_naflex_models_are_found_row_by_row(load: Load) -> None:
    model = load("siglip2")
    shown = [picture((0, 0, 28, 14), size=(28, 28)), picture((0, 0, 14, 28), size=(42, 28))]
    batch = model.collate("image_encoder", shown)
    share = Drawing(model, "image_encoder", "person")(shown)
    covered, before, grid = on_grid(share, torch.zeros(2, 6, 16), batch["spatial_shapes"])
    assert before == 0
    assert grid == [tuple(shape) for shape in batch["spatial_shapes"].tolist()]
    assert float(covered[0, : grid[0][1]].min()) > 0.9


def slow_gaussian(grid: Tensor, sigma: float) -> Tensor:
    h, w, _ = grid.shape
    new = torch.zeros_like(grid)
    for i in range(h):
        for j in range(w):
            weight = torch.tensor(
                [
                    [np.exp(-((i - k) ** 2 + (j - m) ** 2) / (2 * sigma**2)) for m in range(w)]
                    for k in range(h)
                ]
            )
            new[i, j] = (weight[..., None] * grid).sum((0, 1)) / weight.sum()
    return new


def test_gaussian_and_ring_are_the_means_they_are_said_to_be() -> None:
    generator = torch.Generator().manual_seed(0)
    grid = torch.randn(4, 5, 3, generator=generator, dtype=torch.double)
    weight = torch.zeros(4, 5)
    weight[1:3, 1:2] = 1.0
    weight[0, 3] = 0.5
    other = torch.randn(4, 5, 3, generator=generator, dtype=torch.double)
    special = torch.randn(2, 1, 3, generator=generator, dtype=torch.double)
    # two photos with a class token before the grid; the second one's region is the last token
    weights = torch.stack([weight.flatten(), torch.eye(20)[19]])
    batch = torch.cat([special, torch.stack([grid, other]).view(2, 20, 3)], 1)
    for fill in ("gaussian", "ring"):
        how = Smoothing(fill, 1.5, 1, keep_norms=False)  # type: ignore[arg-type]
        patch = how.patch(weights, (4, 5), batch, before=1, rows=[0, 1])
        assert patch is not None
        found = batch.clone()
        how.apply(found, patch, 0.8)
        for photo, whole in enumerate((grid, other)):
            covered = weights[photo].nonzero().flatten().tolist()
            near = {(i, j) for k in covered for i in range(4) for j in range(5)
                    if max(abs(i - k // 5), abs(j - k % 5)) <= 1}  # fmt: skip
            ring = [whole[i, j] for i, j in near if 5 * i + j not in covered]
            mean = torch.stack(ring).mean(0).expand(20, 3)
            full = slow_gaussian(whole, 1.5).view(20, 3) if fill == "gaussian" else mean
            share = 0.8 * weights[photo].double()[:, None]
            expected = (1 - share) * whole.view(20, 3) + share * full
            assert torch.allclose(found[photo, 1:], expected, atol=1e-6), (fill, photo)
            away = (weights[photo] == 0).nonzero().flatten() + 1
            assert torch.equal(found[photo, away], batch[photo, away])
        assert torch.equal(found[:, 0], batch[:, 0])
    assert how.patch(weights * 0, (4, 5), batch, before=1, rows=[0, 1]) is None


def test_tokens_are_chosen_by_the_share_that_is_covered() -> None:
    share = torch.tensor([0.0, 0.2, 0.25, 1.0])
    assert covered_tokens(share, 0.25).tolist() == [0, 0, 1, 1]
    assert covered_tokens(share, None).tolist() == share.tolist()
    assert covered_tokens(share * 0.1, 0.25).tolist() == [0, 0, 0, 1]
    assert not covered_tokens(share * 0, 0.25).any()


@pytest.mark.parametrize("fill", ["gaussian", "ring"])
def test_only_covered_tokens_change_and_they_keep_their_length(load: Load, fill: str) -> None:
    model = load("dinov2-bert")
    seen: list[Tensor] = []

    def keep(_: Any, __: Any, output: Any) -> None:
        seen.append((output[0] if isinstance(output, tuple) else output).clone())

    block = model.net.get_submodule("vision_model.encoder.layer.1")
    some = [example(replace(picture((0, 0, 14, 14)), source=e.worlds["null"]["image"].source))
            for e in examples(2)]  # fmt: skip
    some = [replace(e, targets={}) for e in some]
    blur = make_mitigation("feature-blur", sites=["image_encoder/resid.1"], fill=fill, sigma=1.0)
    blur = replace(blur, threshold=0.2).fit(model, rng=rng())
    for strength in (0.0, 0.5, 1.0):
        hook = block.register_forward_hook(keep)
        with blur.applied(model, strength) as changed:
            outputs(changed, some)
        hook.remove()
    plain, half, full = seen
    moved = (full != plain).any(-1)
    assert moved.any(1).all()
    assert not moved[:, 0].any(), "the class token is no patch"
    assert not moved.all()
    assert torch.equal(moved, (half != plain).any(-1))
    assert torch.allclose(full.norm(dim=-1), plain.norm(dim=-1), rtol=1e-5)
    assert torch.allclose(half, (plain + full) / 2, atol=1e-5)


def test_a_small_region_takes_the_token_it_covers_most(load: Load) -> None:
    model = load("clip")
    tiny = [example(picture((15, 1, 17, 3)))]
    none = [example(picture())]
    ready = make_mitigation("feature-blur", fill="ring").fit(model, rng=rng())
    # one grey patch more or less is the same: the photo needs content
    noise = examples(1)[0].worlds["null"]["image"].source.resize((28, 28))
    for some, changes in ((tiny, True), (none, False)):
        shown = replace(some[0].worlds["null"]["image"], source=noise)
        one = [example(shown)]
        before = outputs(model, one)[0]
        with ready.applied(model) as changed:
            moved = not torch.equal(outputs(changed, one)[0], before)
        assert moved is changes


@pytest.mark.parametrize("family", ["clip", "siglip2", "grounding-dino-dinov2"])
def test_maps_show_where_the_features_changed(load: Load, family: str) -> None:
    model = load(family)
    form = "grounded" if "grounding" in family else "caption"
    some = examples(2, form=form)
    blur = make_mitigation("feature-blur", sites=["image_encoder/embed"], sigma=1.0)
    found = feature_changes(model, blur.fit(model, rng=rng()), "image_encoder/embed", some)
    for one in found:
        # the region is on the left, and only patches that it covers are changed at its own site
        assert one.ndim == 2
        assert one[:, 0].max() > 0.01
        assert one.min() == 0.0 or one.shape[1] <= 2
    with pytest.raises(BadStudy, match="encoder of images"):
        feature_changes(model, blur.fit(model, rng=rng()), "text_encoder/mlp.0", some)


def test_two_blurs_of_different_regions_nest(load: Load) -> None:
    model, some = load("dinov2-bert"), examples(2)
    person, other = (
        make_mitigation("feature-blur", region=name, sigma=1.0).fit(model, rng=rng())
        for name in ("person", "placebo-person")
    )
    with person.applied(model) as one:
        alone = outputs(one, some)[0]
        with other.applied(one) as both:
            assert not torch.equal(outputs(both, some)[0], alone)
        assert torch.equal(outputs(one, some)[0], alone)


def test_rows_that_are_left_out_as_repeats_keep_their_regions(load: Load) -> None:
    model, some = load("grounding-dino"), examples(4, form="grounded")
    ready = make_mitigation("feature-blur", sigma=1.0).fit(model, rng=rng())
    texts = [e.worlds["null"]["text"] for e in some]
    crossed = [
        vb.Example(
            e.id,
            e.cluster,
            {"null": e.worlds["null"], "cf": {**e.worlds["null"], "text": texts[1 - i % 2]}},
            e.targets,
            {"group": "feminine"},
        )
        for i, e in enumerate(some)
    ]
    with ready.applied(model) as changed:
        frame = vb.potential_outcomes(
            changed, crossed, outcomes=["presence"], classes=("person", "bicycle", "umbrella"),
            contrasts=["null->cf"],
        )  # fmt: skip
        for number, one in enumerate(crossed):
            rows = changed.split(one.worlds["null"])["model"]
            values = {"model": changed.encode("model", changed.collate("model", rows))}
            alone = changed.join(values, {"model": torch.tensor([[0]])})["class_logits"][0]
            mine = frame[(frame.sample_id == one.id) & (frame.arm == "00")]["value"].to_numpy()
            assert np.allclose(mine, alone.numpy(), atol=2e-4), number
    assert RUNNING.get() is None


def test_regions_outside_missing_or_covering_all_are_refused(load: Load, tmp_path: Path) -> None:
    model = load("clip")
    blur = make_mitigation("feature-blur").fit(model, rng=rng())
    ring = make_mitigation("feature-blur", fill="ring").fit(model, rng=rng())
    outside, whole = picture((10, 10, 40, 20)), picture((0, 0, 28, 28))
    Image.new("RGB", (28, 28)).save(tmp_path / "photo.png")
    bare = vb.Picture(tmp_path / "photo.png")
    roomless = replace(bare, regions=(Region("person", absent="no background"),))
    for ready, shown, words in (
        (blur, outside, "outside the image of 28 x 28"),
        (blur, bare, r"photo\.png: no region 'person' is known"),
        (blur, roomless, r"photo\.png: there is no region 'person' \(no background\)"),
        (ring, whole, "covers the whole image"),
    ):
        with ready.applied(model) as changed, pytest.raises(BadData, match=words):
            changed.collate("image_encoder", [shown])
    with blur.applied(model) as changed:
        outputs(changed, [example(whole)])
    listed = [replace(example(whole, 1), targets={"size": (28, 28)}), example(picture(), 2)]
    assert make_mitigation("feature-blur").unusable(listed) == {}
    assert set(make_mitigation("feature-blur", fill="ring").unusable(listed)) == {"one/1"}
    with pytest.raises(BadData, match=r"one/1 .*no ring"):
        make_mitigation("feature-blur", fill="ring").fit(model, listed, rng=rng())


def test_the_bare_network_is_refused_while_regions_are_needed(load: Load) -> None:
    model = load("clip")
    ready = make_mitigation("feature-blur").fit(model, rng=rng())
    batch = model.collate("image_encoder", [picture((0, 0, 9, 9))])
    with ready.applied(model), pytest.raises(BadData, match="ran without regions"):
        model.net.get_image_features(**batch)


def test_settings_that_mean_nothing_are_refused(load: Load) -> None:
    for bad in ({"sigma": 0.0}, {"ring": 0}, {"threshold": 0.0}, {"fill": "blur"}):
        with pytest.raises(BadStudy):
            make_mitigation("feature-blur", **bad)
    with pytest.raises(BadStudy, match="names no residual stream"):
        make_mitigation("feature-blur").fit(load("toy"), rng=rng())
