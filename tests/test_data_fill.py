from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vlbias.causal.region import Box, Region, mask_of
from vlbias.data.fill import FillRegion
from vlbias.data.placebo_regions import placebo_boxes
from vlbias.errors import BadData, BadStudy

SIZE = (64, 48)


def photo(size: tuple[int, int] = SIZE) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


class TestFill:
    box: Box = (8.0, 6.0, 40.0, 36.0)

    @pytest.mark.parametrize("fill", ["blur", "mean", "black"])
    def test_strength_zero_gives_the_image_back_bit_by_bit(self, fill: str) -> None:
        image = photo()
        edited = FillRegion((self.box,), fill, 0.0)(image)  # type: ignore[arg-type]
        assert np.array_equal(np.asarray(edited), np.asarray(image))

    @pytest.mark.parametrize("fill", ["blur", "mean", "black"])
    def test_only_the_region_changes_and_it_does(self, fill: str) -> None:
        before = np.asarray(photo())
        after = np.asarray(FillRegion((self.box,), fill)(photo()))  # type: ignore[arg-type]
        inside = mask_of((self.box,), SIZE)
        assert np.array_equal(after[~inside], before[~inside])
        assert (after[inside] != before[inside]).any(-1).mean() > 0.9

    def test_black_and_mean_are_what_they_say(self) -> None:
        inside = mask_of((self.box,), SIZE)
        assert not np.asarray(FillRegion((self.box,), "black")(photo()))[inside].any()
        mean = np.asarray(FillRegion((self.box,), "mean")(photo()))[inside]
        assert (mean == np.rint(np.asarray(photo()).mean((0, 1)))).all()

    def test_half_strength_is_half_way(self) -> None:
        before = np.asarray(photo()).astype(float)
        half = np.asarray(FillRegion((self.box,), "black", 0.5)(photo()))
        inside = mask_of((self.box,), SIZE)
        assert np.array_equal(half[inside], np.rint(before[inside] / 2))

    def test_blur_grows_with_the_height_of_the_box(self) -> None:
        def roughness(height: float) -> float:
            box = (8.0, 2.0, 60.0, 2.0 + height)
            after = np.asarray(FillRegion((box,), "blur", blur_per_height=0.04)(photo()))
            return float(after[4:8, 20:50].astype(float).std())

        assert roughness(40) < 0.8 * roughness(10)

    def test_a_given_height_blurs_small_tiles_as_a_person(self) -> None:
        tile = ((20.0, 20.0, 24.0, 24.0),)
        person = np.asarray(FillRegion(((4.0, 4.0, 60.0, 44.0),), "blur")(photo()))[20:24, 20:24]
        tiles = np.asarray(FillRegion(tile, "blur", height=40.0)(photo()))[20:24, 20:24]
        assert np.abs(tiles.astype(int) - person).max() <= 8
        alone = np.asarray(FillRegion(tile, "blur")(photo()))[20:24, 20:24]
        assert np.abs(alone.astype(int) - person).max() > 40

    def test_what_is_kept_stays_as_it_is(self) -> None:
        kept = (20.0, 10.0, 60.0, 20.0)
        before = np.asarray(photo())
        after = np.asarray(FillRegion((self.box,), "black", keep=Region("kept", (kept,)))(photo()))
        inside = mask_of((self.box,), SIZE) & ~mask_of((kept,), SIZE)
        assert not after[inside].any()
        assert np.array_equal(after[~inside], before[~inside])

    def test_equal_edits_have_equal_repr_and_hash(self) -> None:
        one, two = FillRegion((self.box,), "mean", 0.5), FillRegion((self.box,), "mean", 0.5)
        assert (repr(one), hash(one)) == (repr(two), hash(two))
        assert repr(one) != repr(FillRegion((self.box,), "mean", 0.6))

    @pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
    def test_strength_outside_its_range(self, strength: float) -> None:
        with pytest.raises(BadStudy, match="strength"):
            FillRegion((self.box,), "blur", strength)

    def test_unknown_fill(self) -> None:
        with pytest.raises(BadStudy, match="pixelate"):
            FillRegion((self.box,), "pixelate")  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "box", [(5.0, 5.0, 5.0, 9.0), (5.0, 9.0, 8.0, 5.0), (0.0, 0.0, float("nan"), 4.0)]
    )
    def test_boxes_that_are_none(self, box: Box) -> None:
        with pytest.raises(BadData, match="region"):
            FillRegion((box,))

    @pytest.mark.parametrize(
        "box", [(50.0, 5.0, 70.0, 9.0), (-4.0, 0.0, 5.0, 5.0), (100.0, 100.0, 110.0, 110.0)]
    )
    def test_region_outside_the_image(self, box: Box) -> None:
        with pytest.raises(BadData, match="64 x 48"):
            FillRegion((box,))(photo())


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[Box], tuple[int, int]]:
    width, height = draw(st.integers(24, 90)), draw(st.integers(24, 90))
    boxes: list[Box] = []
    for _ in range(draw(st.integers(1, 5))):
        x0, y0 = draw(st.floats(0, width - 2)), draw(st.floats(0, height - 2))
        boxes.append((x0, y0, draw(st.floats(x0 + 1, width)), draw(st.floats(y0 + 1, height))))
    return boxes, (width, height)


class TestPlacebo:
    @settings(max_examples=150, deadline=None)
    @given(scenes(), st.integers(0, 2**32))
    def test_same_area_and_no_overlap(
        self, scene: tuple[list[Box], tuple[int, int]], seed: int
    ) -> None:
        persons, size = scene
        boxes, overlap, how, _ = placebo_boxes(persons, size, seed)
        taken = mask_of(persons, size)
        if boxes is None:
            assert overlap == 0.0
            assert how not in ("same-shape", "tiles")
            return
        placed = mask_of(boxes, size)
        assert placed.sum() == taken.sum()
        assert not (placed & taken).any()
        assert overlap == 0.0
        assert how in ("same-shape", "tiles")

    def test_the_seed_decides(self) -> None:
        persons = [(4.0, 4.0, 14.0, 30.0)]
        regions = [placebo_boxes(persons, SIZE, seed) for seed in range(12)]
        assert regions == [placebo_boxes(persons, SIZE, seed) for seed in range(12)]
        assert len({region.boxes for region in regions}) > 3

    def test_shapes_and_heights_stay_where_they_fit(self) -> None:
        persons = [(0.0, 0.0, 10.0, 30.0), (5.0, 10.0, 20.0, 25.0), (50.0, 0.0, 56.0, 12.0)]
        region = placebo_boxes(persons, (128, 96), 3)
        assert region.how == "same-shape"
        assert region.boxes is not None

        def shapes(boxes: object) -> list[tuple[float, float]]:
            return sorted((x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes)  # type: ignore[attr-defined]

        assert shapes(region.boxes) == shapes(persons)
        assert region.height is None

    def test_tiles_where_the_shape_fits_nowhere(self) -> None:
        region = placebo_boxes([(20.0, 0.0, 44.0, 48.0)], SIZE, 0)  # beside it 20 px each side
        assert region.how == "tiles"
        assert region.height == 48.0

    def test_not_one_pixel_overlaps_in_tight_scenes(self) -> None:
        """Few free places, all of which some seed takes, next to the persons among them."""
        rng = np.random.default_rng(0)
        found = 0
        for seed in range(300):
            x, y = (int(k) for k in rng.integers(0, 7, 2))
            persons = [(float(x), float(y), x + 5.0, y + 4.0), (0.0, 11.0, 2.0, 12.0)]
            region = placebo_boxes(persons, (12, 12), seed)
            if region.boxes is not None:
                found += region.how == "same-shape"
                assert region.overlap == 0.0
                assert not (mask_of(region.boxes, (12, 12)) & mask_of(persons, (12, 12))).any()
        assert found > 200

    def test_no_place_is_said(self) -> None:
        assert placebo_boxes([(0.0, 0.0, 60.0, 48.0)], SIZE, 0).boxes is None
        assert placebo_boxes([], SIZE, 0).boxes is None
