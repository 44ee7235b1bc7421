"""GLIP's arithmetic: the numbers of its public implementation, and small cases by hand."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from vlbias.causal.detection_readout import NEVER
from vlbias.models.glip.detections import chosen, inside, left_over
from vlbias.models.glip.dynamic_head import _DeformableConv, as_maps, as_tokens
from vlbias.models.glip.head import anchors, class_scores, decoded
from vlbias.models.glip.network import GlipNet
from vlbias.models.glip.photos import pixels_of, scaled_size
from vlbias.models.glip.shape import GlipConfig

PEER = Path(__file__).parent / "glip_peer" / "numbers.json"
"""Written by `python experiments/glip_parity.py --peer CHECKOUT --numbers tests/glip_peer/numbers.json`."""


@pytest.fixture(scope="module")
def peer() -> dict[str, Any]:
    numbers: dict[str, Any] = json.loads(PEER.read_text())
    return numbers


@pytest.fixture(scope="module")
def ours(peer: dict[str, Any]) -> dict[str, Tensor]:
    """What the numbers of the peer are of, computed by our network with the same weights."""
    net = GlipNet(GlipConfig(**peer["shape"])).eval().double()
    pixels = torch.from_numpy(np.random.default_rng(0).standard_normal(peer["pixels"]))
    ids = torch.tensor(peer["ids"])
    mask, found = (ids > 0).long(), {}
    with torch.no_grad():
        for name, weight in net.named_parameters():
            noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(weight.shape)
            scale = 1.2 * weight[0].numel() ** -0.5 if weight.ndim > 1 else 0.2
            quiet = "norm" in name.lower() or ".bn." in name or "gamma" in name
            weight.copy_(torch.from_numpy(noise) * scale + (1.0 if quiet else 0.0))
        levels = net.backbone(pixels)
        text = net.language_backbone(ids, mask)
        found |= {f"level {i}": one for i, one in enumerate(levels)} | {"text": text[:, :7]}
        sizes = [(one.shape[2], one.shape[3]) for one in levels]
        image, head = as_tokens(levels), net.rpn.head
        for number, layer in enumerate(head.dyhead_tower):
            image, text = layer(image, text, mask, sizes)
            found[f"image after {number}"], found[f"text after {number}"] = image, text[:, :7]
        found["scores"] = head.token_logits(image, text)[:, :, :7]
        found["changes"], found["centerness"] = head.deltas(image, sizes), head.centerness(image)
    return found


def test_every_part_gives_the_numbers_of_the_public_implementation(
    peer: dict[str, Any], ours: dict[str, Tensor]
) -> None:
    expected = {name: peer[name] for name in peer if name not in ("shape", "ids", "pixels")}
    assert len(expected) == 5 + 1 + 2 * 9 + 3
    assert expected.keys() == ours.keys()
    for name, numbers in expected.items():
        flat = ours[name].flatten()
        some = flat[torch.linspace(0, len(flat) - 1, len(numbers)).long()]
        assert some.tolist() == pytest.approx(numbers, rel=1e-8, abs=1e-9), name


def test_shifts_of_a_larger_map_are_read_from_the_beginning_of_its_memory() -> None:
    """Tap by tap: memory is walked in steps of the output, as the published kernel does."""
    torch.manual_seed(0)
    conv = _DeformableConv(2, 1).double()
    features = torch.randn(1, 2, 2, 3, dtype=torch.float64)
    # of a map of 4 x 5; whole pixels, so that nothing lies between
    offset = torch.randint(-1, 2, (1, 18, 4, 5)).double()
    mask = torch.rand(1, 9, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        found = conv(features, offset, mask)
    shifts, shares = offset.flatten().tolist(), mask.flatten().tolist()
    for y in range(2):
        for x in range(3):
            total = conv.bias.detach().clone()
            for tap in range(9):
                place = y * 3 + x
                row = int(y - 1 + tap // 3 + shifts[2 * tap * 6 + place])
                column = int(x - 1 + tap % 3 + shifts[(2 * tap + 1) * 6 + place])
                if 0 <= row < 2 and 0 <= column < 3:
                    value = features[0, :, row, column] * shares[tap * 6 + place]
                    total += conv.weight.detach()[:, :, tap // 3, tap % 3] @ value
            assert torch.allclose(found[0, :, y, x], total, atol=1e-12)


def test_levels_are_laid_out_and_back() -> None:
    maps = [torch.randn(2, 3, *size) for size in ((4, 6), (2, 3), (1, 2))]
    tokens = as_tokens(maps)
    assert tokens.shape == (2, 24 + 6 + 2, 3)
    assert torch.equal(tokens[1, 24 + 4], maps[1][1, :, 1, 1])
    for one, other in zip(as_maps(tokens, [(4, 6), (2, 3), (1, 2)]), maps, strict=True):
        assert torch.equal(one, other)


def test_anchors_and_boxes_by_hand() -> None:
    squares = anchors([(1, 2)], [8], [64])
    # as generate_anchors(stride=8, sizes=(64,), aspect_ratios=(1,)), and 8 pixels further right
    assert squares.tolist() == [[-28, -28, 35, 35], [-20, -28, 43, 35]]
    still, large = decoded(torch.tensor([[0.0, 0, 0, 0], [0, 0, 99, 99]]), squares)
    assert still.tolist() == squares[0].tolist()
    assert float(large[2] - large[0]) == pytest.approx(64 * 1000 / 16 - 1)  # growth is limited
    moved = decoded(torch.tensor([[1.0, 2, 0, 5 * math.log(2)]]), squares[:1])[0]
    # a tenth of 64 right, two tenths down, twice as high
    assert moved.tolist() == pytest.approx([-21.6, -47.2, 41.4, 79.8], abs=1e-4)


def test_a_score_is_the_root_of_the_mean_probability_times_that_of_being_central() -> None:
    logits = torch.tensor([[[0.3, -1.0, 2.0, 9.0]]]).double()
    roles = torch.tensor([[1, 0, 1, -1]])
    central = torch.tensor([[[0.7]]]).double()
    found = class_scores(logits, central, roles, 3).sigmoid()[0, 0]

    def sigmoid(value: float) -> float:
        return 1 / (1 + math.exp(-value))

    of_one = math.sqrt((sigmoid(0.3) + sigmoid(2.0)) / 2 * sigmoid(0.7))
    assert found.tolist() == pytest.approx([math.sqrt(sigmoid(-1) * sigmoid(0.7)), of_one, 0])
    sure = class_scores(torch.full((1, 1, 1), 60.0), torch.full((1, 1, 1), 60.0), roles[:, 1:2], 1)
    assert 55 < float(sure) < 65  # a probability of 1 to rounding has a logit nevertheless


def test_of_overlapping_boxes_of_a_class_the_better_is_a_detection() -> None:
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 11], [50, 50, 60, 60], [0, 0, 9, 9]])[None]
    logits = torch.tensor([[2.0, -9], [1.0, -9], [0.5, -8], [-9, -9]])[None]
    central = torch.full((1, 4, 1), 3.0)
    found = {"boxes": boxes, "logits": logits, "central": central}
    config = GlipConfig(detections=5)
    kept = left_over(found, [3, 1], config)[0]
    # 100 of 120 pixels are more than 0.6; no box of the second class is above the threshold: its best stays
    assert kept.tolist() == [[True, False], [False, False], [True, True], [False, False]]
    assert left_over(found, [3, 1], GlipConfig(overlap_threshold=0.84))[0][1, 0]
    # the limit counts pairs of box and class
    assert left_over(found, [3, 1], GlipConfig(detections=1))[0].tolist()[2] == [False, True]
    # the threshold comes before the centre: 0.12² is below 0.05, and above 0.05 times 0.01
    low = {**found, "logits": torch.full((1, 4, 2), math.log(0.12 / 0.88))}
    assert int(left_over(low, [3, 1], config).sum()) == 2
    aside = {**low, "central": torch.full((1, 4, 1), math.log(0.01 / 0.99))}
    assert int(left_over(aside, [3, 1], config).sum()) > 2
    few, scores = chosen(boxes, logits, kept[None], 3)
    assert few[0].tolist() == [boxes[0, i].tolist() for i in (0, 2, 1)]
    assert scores[0].tolist() == [[2.0, NEVER], [0.5, -8], [NEVER, NEVER]]
    assert chosen(boxes, logits, kept[None], 7)[0].shape == (1, 7, 4)
    assert inside(torch.tensor([[[-3.0, 2, 99, 99]]]), torch.tensor([[20, 10]])).tolist() == [
        [[0, 2, 19, 9]]
    ]


@pytest.mark.parametrize(
    ("size", "scaled"),
    [
        # of torchvision's arithmetic: int(800 · 640 / 427) and, with a longest edge, round(1333 · 97 / 640)
        ((640, 427), (1199, 800)),
        ((427, 640), (800, 1199)),
        ((97, 640), (202, 1332)),
        ((500, 500), (800, 800)),
        ((3, 9000), (1, 3000)),
    ],
)
def test_photos_are_scaled_as_published(size: tuple[int, int], scaled: tuple[int, int]) -> None:
    assert scaled_size(size, 800, 1333) == scaled


def test_photos_are_normalised_and_padded_with_zeros() -> None:
    config = GlipConfig(shortest_edge=40, longest_edge=80)
    pixels, size = pixels_of(Image.new("RGB", (40, 50), (200, 100, 50)), config)
    assert (size, pixels.shape) == ((40, 50), (3, 64, 64))
    expected = [(200 - 123.675) / 58.395, (100 - 116.28) / 57.12, (50 - 103.53) / 57.375]
    assert pixels[:, 49, 39].tolist() == pytest.approx(expected, rel=1e-5)
    assert float(pixels[:, 50:].abs().sum() + pixels[:, :, 40:].abs().sum()) == 0
