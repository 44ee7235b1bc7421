"""The models of docs/own-model.md: as on the hub, of open_clip in memory, and a network of one's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract import failed
from PIL import Image
from torch import nn

import vlbias as vb
from vlbias.errors import BadModel
from vlbias.models import load_model
from vlbias.models.check_adapter import check
from vlbias.models.dual_encoder import DualEncoder

DOCS = Path(__file__).parents[1] / "docs" / "own-model.md"


def of_docs(heading: str) -> str:
    """The first block of Python below a heading."""
    found = re.search(rf"^## {heading}\n.*?```python\n(.*?)```", DOCS.read_text(), re.S | re.M)
    assert found, heading
    return found[1]


def asked(model: Any) -> Any:
    """Arms of three pairs of images and their B-relevant scores."""
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)) for _ in range(6)]
    texts = ("a photo of a cup", "a photo of a dog")
    examples = vb.paired_examples(pictures[:3], pictures[3:], [texts] * 3)
    return vb.potential_outcomes(
        model, examples, ["image_encoder"], ["presence"], classes=("cup", "dog")
    )


def test_a_network_of_ones_own_takes_fifteen_lines() -> None:
    code = of_docs("Your own network in 15 lines")
    names: dict[str, Any] = {}
    exec(code, names)
    lines = [line for line in code.splitlines() if line.strip() and "import" not in line]
    assert len(lines) <= 15
    model = names["model"]
    assert isinstance(model, DualEncoder)
    assert failed(check(model)) == {}
    arms = asked(model)
    through = arms[(arms["mediator"] == "image_encoder") & (arms["arm"] == "10")]
    assert len(through)


def test_a_module_that_is_not_there_is_named() -> None:
    net = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    given = {"pixels": torch.stack, "tokens": torch.tensor}
    with pytest.raises(BadModel, match="no module 'c'; there are"):
        DualEncoder(net, image="a", text="c", **given)
    with pytest.raises(BadModel, match="one module, 'a'"):
        DualEncoder(net, image="a", text="a", **given)


@pytest.mark.integration
def test_a_folder_as_the_hub_has_it_is_loaded_by_its_path(
    model_folder: Callable[[str], Path],
) -> None:
    assert {one.name for one in model_folder("clip").iterdir()} >= {
        "config.json", "model.safetensors", "preprocessor_config.json"
    }  # fmt: skip
    arms = asked(load_model(str(model_folder("clip"))))
    assert set(arms["mediator"]) >= {"image_encoder"}


@pytest.mark.integration
def test_a_model_of_open_clip_in_memory_gives_what_its_folder_gives(
    model_folder: Callable[[str], Path],
) -> None:
    open_clip = pytest.importorskip("open_clip")
    folder = model_folder("openclip")
    architecture = f"local-dir:{folder}"
    net, transform = open_clip.create_model_from_pretrained(architecture)
    names = {
        "clip": net,
        "transform": transform,
        "tokenizer": open_clip.get_tokenizer(architecture),
    }
    exec(of_docs("A model of open_clip in memory"), names)
    here, there = asked(names["model"]), asked(load_model(str(folder)))
    assert np.array_equal(here["value"], there["value"], equal_nan=True)
