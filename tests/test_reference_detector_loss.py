"""The losses of the reference detector, and the boxes of its views, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from reference_detector_parts import detector_bank, detector_loss, detector_train
from reference_parts import photos, views

pytestmark = pytest.mark.integration


class TestLoss:
    def test_a_perfect_answer_costs_nearly_nothing(self) -> None:
        boxes = torch.tensor([[[0.3, 0.3, 0.2, 0.2], [0.7, 0.6, 0.3, 0.4], [0.5, 0.5, 0.1, 0.1]]])
        # tokens: [CLS], class 0, stop, class 1 (two words), padding
        roles = torch.tensor([[-2, 0, -2, 1, 1, -3]])
        logits = torch.full((1, 3, 6), -12.0)
        logits[0, 0, 3:5] = 12.0
        logits[0, 1, 1] = 12.0
        logits[..., 5] = -torch.inf
        truth = detector_loss.Truth(boxes[0, [1, 0]], torch.tensor([0, 1]))
        parts = detector_loss.set_loss(logits, boxes, [truth], roles)
        assert all(float(value) < 1e-3 for value in parts.values())
        swapped = detector_loss.Truth(boxes[0, [0, 1]], torch.tensor([0, 1]))
        assert (
            sum(map(float, detector_loss.set_loss(logits, boxes, [swapped], roles).values())) > 0.5
        )

    def test_each_row_is_read_by_its_own_text(self) -> None:
        """The library's loss takes the tokens of a third row from the second one's text."""
        box = torch.tensor([[0.5, 0.5, 0.2, 0.2]])
        roles = torch.tensor([[0, -1, -1], [-1, 0, -1], [-1, -1, 0]])
        logits = torch.full((3, 1, 3), -12.0)
        for row in range(3):
            logits[row, 0, row] = 12.0
        truths = [detector_loss.Truth(box, torch.tensor([0]))] * 3
        parts = detector_loss.set_loss(logits, box.expand(3, 1, 4), truths, roles)
        assert float(parts["class"]) < 1e-3

    def test_photos_without_boxes_teach_that_nothing_is_there(self) -> None:
        none = detector_loss.Truth(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
        logits = torch.zeros(1, 2, 3, requires_grad=True)
        parts = detector_loss.set_loss(
            logits, torch.rand(1, 2, 4), [none], torch.tensor([[0, 1, -1]])
        )
        parts["class"].backward()
        assert logits.grad is not None
        assert bool((logits.grad > 0).all())

    def test_places_learn_the_boxes_they_lie_in(self) -> None:
        match = detector_loss.match_places([(4, 4), (2, 2)])
        # a box over the left half, and a small one within it that no place lies in
        truth = detector_loss.Truth(
            torch.tensor([[0.25, 0.5, 0.5, 1.0], [0.3, 0.3, 0.05, 0.05]]), torch.tensor([0, 1])
        )
        places, box = match(torch.zeros(20, 3), torch.rand(20, 4), truth, torch.zeros(2, 3))
        found = dict(zip(places.tolist(), box.tolist(), strict=True))
        # of the fine level the small box has the nearest place, second row and column
        assert {place for place, one in found.items() if one == 1} == {5, 16}
        left = {row * 4 + column for row in range(4) for column in range(2)} - {5}
        assert {place for place, one in found.items() if one == 0} <= left | {18}
        assert {4, 8, 9, 18} <= set(found)

    def test_presence_is_told_by_the_best_query(self) -> None:
        roles = torch.tensor([[-1, 0, 1, -3]])
        logits = torch.tensor([[[9.0, -9.0, 8.0, 0.0], [9.0, -7.0, -8.0, 0.0]]])
        right = detector_loss.presence_loss(logits, torch.tensor([[0.0, 1.0]]), roles)
        wrong = detector_loss.presence_loss(logits, torch.tensor([[1.0, 0.0]]), roles)
        assert float(right) < 0.01
        assert float(wrong) == pytest.approx(7.5, abs=0.01)


def test_boxes_follow_their_view() -> None:
    photo = photos.Photo(
        id=2,
        path=Path("none.jpg"),
        captions=("a man",),
        boxes=np.array([[10, 10, 30, 30], [60, 0, 100, 40]], np.float32),
        classes=np.array([0, 1]),
        gender="masculine",
    )
    whole = detector_bank.truth_in(photo, views.View(0, 0, 100, 50, False))
    assert whole.boxes.tolist()[0] == pytest.approx([0.2, 0.4, 0.2, 0.4])
    mirrored = detector_bank.truth_in(photo, views.View(0, 0, 100, 50, True))
    assert mirrored.boxes.tolist()[0] == pytest.approx([0.8, 0.4, 0.2, 0.4])
    # of the second box a quarter is left: it no longer counts
    cut = detector_bank.truth_in(photo, views.View(0, 0, 70, 50, False))
    assert cut.classes.tolist() == [0]
    half = detector_bank.truth_in(photo, views.View(20, 0, 100, 50, False))
    assert half.boxes.tolist()[0] == pytest.approx([5 / 80, 0.4, 10 / 80, 0.4])


def test_a_box_of_a_rare_class_counts_more() -> None:
    boxes = np.array([[0.0, 0.0, 9.0, 9.0]] * 9, np.float32)
    photo = photos.Photo(
        1, Path("x.jpg"), ("a man",), boxes, np.array([0] * 7 + [1] + [2]), "masculine"
    )
    worth = detector_train.worth_of([photo], 3)
    assert worth.tolist() == pytest.approx([7**-0.5, 1.0, 1.0])
    truth = detector_loss.Truth(
        torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.2, 0.2, 0.2, 0.2]]), torch.tensor([0, 1])
    )
    roles = torch.tensor([[0, 1, 2]])
    right = truth.boxes[None].clone()
    logits = torch.tensor([[[9.0, -9.0, -9.0], [-9.0, 9.0, -9.0]]])
    far = right.clone()
    far[0, :, 2:] = 0.3
    off = [far.clone(), far.clone()]
    off[0][0, 1], off[1][0, 0] = right[0, 1], right[0, 0]
    person, rare = (
        float(detector_loss.set_loss(logits, one, [truth], roles, worth=worth)["box"])
        for one in off
    )
    assert rare == pytest.approx(person * 7**0.5)
