"""Regions are filled as they are said to be, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vlbias.causal.region import Box, Region, mask_of
from vlbias.data.fill import FillRegion
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
