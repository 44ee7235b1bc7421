"""Two threads on one model take turns: every number is that of a thread alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pandas as pd
import pytest
from PIL import Image
from tiny_photos import pictures

import vlbias as vb
from vlbias.models import load_model


@pytest.mark.parametrize("name", ["clip", "dinov2-bert"])
def test_threads_on_one_model_take_turns(model_folder: Callable[[str], Path], name: str) -> None:
    model: Any = load_model(str(model_folder(name)))
    images: list[Image.Image] = [picture.open() for picture in pictures(8)]
    examples = vb.paired_examples(images[:4], images[4:], ["a dog"] * 4, ["a cup"] * 4)
    mediators = ["image_encoder", "image_encoder/attn.*", "text_encoder/mlp.*"]

    def measured() -> pd.DataFrame:
        return vb.potential_outcomes(model, examples, mediators, ["match"])

    alone, start = measured(), Barrier(3)

    def together(_: int) -> list[pd.DataFrame]:
        start.wait()
        return [measured() for _ in range(3)]

    with ThreadPoolExecutor(3) as pool:
        for frames in pool.map(together, range(3)):
            for frame in frames:
                pd.testing.assert_frame_equal(frame, alone, check_exact=True)
