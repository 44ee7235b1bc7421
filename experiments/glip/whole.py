"""From a photo and a text to detections, as the two implementations give them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from glip.modules import Row, gap
from glip.names import lines_of
from glip.peer import CONFIGS, Peer
from glip.sides import CLASSES, Both, photo, shape_of
from PIL import Image
from torch import Tensor

from vlbias.causal.detection_readout import NEVER
from vlbias.causal.example import GroundedText, Picture
from vlbias.models.glip.network import GlipNet
from vlbias.models.glip.photos import pixels_of
from vlbias.models.glip.published import PUBLISHED
from vlbias.models.glip.shape import GlipConfig

__all__ = ["detected", "inputs", "settings", "write_names"]

SHAPES = ("glip-tiny-a", "glip-tiny-c", "glip-large")
"""One published model of every shape."""

_SIZES = ((300, 200), (200, 311), (97, 640), (256, 256))


def inputs(peer: Peer, both: Both) -> Iterator[Row]:
    """Photos as tensors, and which tokens belong to a class."""
    found = []
    for number, size in enumerate(_SIZES):
        image = photo(size, number)
        theirs = _photo(peer, both.cfg, image).tensors[0]
        found.append(gap(pixels_of(image, both.net.config)[0].flip(0), theirs))
    yield "photos", "data/transforms, structures/image_list.py", max(found)
    reader = both.model.reader
    piece = reader.pieces(GroundedText("a man with his dogs. ", CLASSES))[0]
    roles = reader.read([piece])["roles"][0]
    tokens = {k + 1: (roles == k).nonzero()[:, 0].tolist() for k in range(len(CLASSES))}
    same = tokens == dict(_tokens(peer, both, piece))
    yield "tokens of classes", "engine/inference.py", 0.0 if same else float("inf")


def _photo(peer: Peer, cfg: Any, image: Image.Image) -> Any:
    made = peer.transforms
    steps = made.Compose([
        made.Resize(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST),
        made.ToTensor(),
        made.Normalize(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD, format="bgr255"),
    ])  # fmt: skip
    return peer.images.to_image_list([steps(image)], cfg.DATALOADER.SIZE_DIVISIBILITY)


def _tokens(peer: Peer, both: Both, piece: Any) -> dict[int, list[int]]:
    read = both.model.reader.tokenizer([piece.text], return_tensors="pt")
    spans = [[(start, end)] for _, start, end in piece.spans]
    make = peer.function("engine/inference.py", "create_positive_dict")
    owned: dict[int, list[int]] = make(read, spans, [k + 1 for k, _, _ in piece.spans])[1]
    return owned


@torch.no_grad()
def detected(peer: Peer, both: Both) -> Iterator[Row]:
    """The peer's detections among ours, and ours among the peer's, in single precision."""
    scores, boxes, counts = [0.0], [0.0], []
    for number, size in enumerate(_SIZES):
        image = photo(size, number)
        text = GroundedText("a man with his dogs. ", CLASSES)
        row = both.model.split({"image": Picture(image), "text": text})["model"][0]
        ours = both.model.encode("model", both.model.collate("model", [row]))
        theirs = _detections(peer, both, image, row[1])
        score, box = _matched(ours, theirs)
        scores.append(score)
        boxes.append(box)
        counts.append(len(theirs.bbox))
    about = f"rpn/inference.py, {' + '.join(map(str, counts))} detections"
    yield "scores of detections", about, max(scores)
    yield "boxes of detections", about, max(boxes)


def _detections(peer: Peer, both: Both, image: Image.Image, piece: Any) -> Any:
    batch = both.model.reader.read([piece])
    images = _photo(peer, both.cfg, image)
    read = {key: batch[key] for key in ("input_ids", "attention_mask")}
    told = both.theirs.language_backbone(read)
    levels = both.theirs.backbone(images.tensors)
    owned = dict(_tokens(peer, both, piece))
    found = both.theirs.rpn(images, levels, None, dict(told), owned, [piece.text])[0][0]
    return found.resize(image.size)


def _matched(ours: dict[str, Tensor], theirs: Any) -> tuple[float, float]:
    """Largest differences of score and, in pixels, of box; infinite if a detection has no partner."""
    logits, boxes = ours["logits"][0], ours["boxes"][0]
    box, label = (logits > NEVER).nonzero().unbind(1)
    best = logits.argmax(0)
    free = {(int(b), int(k)) for b, k in zip(box, label, strict=True)}
    worst_score = worst_box = 0.0
    fields = (theirs.bbox, theirs.get_field("labels") - 1, theirs.get_field("scores"))
    for corner, k, score in zip(*fields, strict=True):
        own = [b for b, label in free if label == int(k)]
        if not own:
            return float("inf"), float("inf")
        far = (boxes[own] - corner).abs().amax(1) + (logits[own, k].sigmoid() - score).abs()
        partner = own[int(far.argmin())]
        free.remove((partner, int(k)))
        worst_score = max(worst_score, float((logits[partner, k].sigmoid() - score).abs()))
        worst_box = max(worst_box, float((boxes[partner] - corner).abs().max()))
    # what the peer has not is the best box of a class, which we keep whatever its score
    if any(int(best[k]) != b for b, k in free):
        return float("inf"), float("inf")
    return worst_score, worst_box


def settings(peer: Peer) -> Iterator[Row]:
    """Shapes of the published models, and the names and sizes of all their weights."""
    for name, published in PUBLISHED.items():
        cfg = peer.settings(name)
        config = GlipConfig(**published.shape)
        # a setting that the files do not have is the same in all: 0 is none
        same = shape_of(cfg).to_dict() == config.to_dict()
        yield f"settings of {name}", f"configs/pretrain/{CONFIGS[name]}.yaml", 0.0 if same else 1.0
        if name in SHAPES:
            yield (
                f"names and sizes of {name}",
                "all",
                0.0 if _same_names(peer, cfg, config) else 1.0,
            )


def write_names(peer: Peer, folder: Path) -> None:
    """Write the names and sizes of every published shape's weights, one file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SHAPES:
        net = peer.build(peer.settings(name), GlipConfig().text_config)
        sizes = {f"module.{k}": tuple(v.shape) for k, v in net.state_dict().items()}
        file = folder / f"{Path(PUBLISHED[name].file).stem}.txt"
        file.write_text("\n".join(lines_of(sizes)) + "\n", encoding="utf-8")


def _same_names(peer: Peer, cfg: Any, config: GlipConfig) -> bool:
    with torch.device("meta"):
        ours = {k: tuple(v.shape) for k, v in GlipNet(config).state_dict().items()}
    theirs = peer.build(cfg, config.text_config).state_dict()
    left = {k: tuple(v.shape) for k, v in theirs.items() if not _besides(k)}
    return ours == left


def _besides(name: str) -> bool:
    parts = ("relative_position_index", "cls_logits", "cell_anchors", "position_ids")
    return any(part in name for part in parts)
