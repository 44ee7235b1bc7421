"""Average precision under weights: that of pycocotools on photos that are repeated as often."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("pycocotools")

from vlbias.analysis.box_precision import average_precision
from vlbias.analysis.precision_draws import box_precisions
from vlbias.errors import BadTable

CLASSES = ("cup", "dog", "tie")


def drawn(photos: int = 12) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    rng = np.random.default_rng(4)
    samples = [f"p{i}" for i in range(photos)]
    truth, found = [], []
    for sample in samples:
        for name in CLASSES[:2]:
            for _ in range(rng.integers(0, 3)):
                x, y = rng.uniform(0, 80, 2)
                crowd = int(rng.random() < 0.1)
                truth.append((sample, name, x, y, x + 20, y + 20, crowd))
                a, b = x + rng.normal(0, 3), y + rng.normal(0, 3)
                found.append((sample, name, rng.random(), a, b, a + 20, b + 20))
            a, b = rng.uniform(0, 80, 2)
            found.append((sample, name, rng.random(), a, b, a + 20, b + 20))
    corners = ["x0", "y0", "x1", "y1"]
    return (
        pd.DataFrame(truth, columns=["sample_id", "target", *corners, "crowd"]),
        pd.DataFrame(found, columns=["sample_id", "target", "score", *corners]),
        samples,
    )


def repeated(frame: pd.DataFrame, samples: list[str], counts: np.ndarray) -> pd.DataFrame:
    parts = [
        frame[frame["sample_id"] == sample].assign(sample_id=f"{sample} again {k}")
        for sample, count in zip(samples, counts, strict=True)
        for k in range(count)
    ]
    return pd.concat(parts, ignore_index=True)


def test_every_draw_is_what_pycocotools_says_of_repeated_photos() -> None:
    truth, found, samples = drawn()
    rng = np.random.default_rng(0)
    weights = np.stack([np.ones(12), *rng.multinomial(12, np.full(12, 1 / 12), 4)])
    ours = box_precisions(truth, found, samples, CLASSES, weights)
    for number, counts in enumerate(weights.astype(int)):
        many = [f"{s} again {k}" for s, n in zip(samples, counts, strict=True) for k in range(n)]
        theirs = average_precision(
            repeated(truth, samples, counts), repeated(found, samples, counts), many, CLASSES
        )
        # pycocotools orders equal scores of repeated photos one by one, which can only round a step
        assert ours["AP"][number] == pytest.approx(theirs.ap, abs=0.02)
        assert ours["AP50"][number] == pytest.approx(theirs.ap50, abs=0.02)
        assert ours["AP75"][number] == pytest.approx(theirs.ap75, abs=0.02)
        assert ours["AR"][number] == pytest.approx(theirs.ar, abs=1e-9)
    whole = average_precision(truth, found, samples, CLASSES)
    once = [ours[name][0] for name in ("AP", "AP50", "AP75", "AR")]
    assert once == pytest.approx([whole.ap, whole.ap50, whole.ap75, whole.ar], abs=1e-9)


def test_weights_of_other_photos_are_refused() -> None:
    truth, found, samples = drawn()
    with pytest.raises(BadTable, match="weights"):
        box_precisions(truth, found, samples, CLASSES, np.ones((1, 3)))
