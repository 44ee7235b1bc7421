"""Placebo regions: as large, elsewhere, and refused where there is no place."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vlbias.causal.region import Box, mask_of
from vlbias.data.placebo_regions import placebo_boxes

SIZE = (64, 48)


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
