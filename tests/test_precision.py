"""What bfloat16 keeps exact and what it changes; weights and placements that are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_image_text
import tiny_photos
from contract import HEARD, failed
from tiny_fusion import write_fusion
from torch import Tensor, nn

from vlbias.causal.conformance import conformance
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine, altered_channels
from vlbias.causal.example import Example
from vlbias.causal.site import Mediator
from vlbias.errors import BadModel
from vlbias.models import load_model
from vlbias.models.pretrained import refuse_placement

pytestmark = pytest.mark.integration
ROUNDED = 0.05
"""Largest difference of a score in bfloat16, with 8 bits of mantissa, relative to the largest score."""


def _kinds() -> dict[str, tuple[Any, Any]]:
    return {
        "llava": (tiny_image_text.write_image_text, tiny_image_text.sides),
        "blip2": (write_fusion, tiny_photos.sides),
        "vilt": (write_fusion, tiny_photos.sides),
    }


def scores(model: Any, sides: Any) -> dict[tuple[str, str], Tensor]:
    """Scores of two examples as they are, in the other world, and with a stage exchanged."""
    base, cf = sides(2)
    examples = [
        Example(str(i), str(i), {"base": a, "cf": b}) for i, (a, b) in enumerate(zip(base, cf, strict=True))
    ]  # fmt: skip
    contrasts = [Contrast("base", "cf")]
    first = model.towers[0].stages[0].name
    altered = altered_channels(examples, contrasts)
    engine = Engine(model, contrasts, [Mediator.of([first])], altered=altered)
    key = "candidate_logprob" if "candidate_logprob" in model.gives else "class_logits"
    return {(arm.mediator, arm.arm): arm.readout[key].double() for arm in engine.run(examples)}


@pytest.mark.parametrize(
    "kind",
    ["vilt", pytest.param("llava", marks=pytest.mark.slow), pytest.param("blip2", marks=pytest.mark.slow)],
)  # fmt: skip
def test_bfloat16_is_exact_in_itself_and_rounds_scores(tmp_path: Path, kind: str) -> None:
    """Replays, rows and kept prefixes are as exact as in float32; scores differ by what is stated."""
    write, sides = _kinds()[kind]
    folder = str(write(kind, tmp_path / kind))
    whole, half = (load_model(folder, dtype=dtype) for dtype in ("float32", "bfloat16"))
    # outcomes would have to move by a thousand times the rounding of a port's value
    assert set(failed(conformance(half, *sides(2), tolerance=2e-2))) <= {HEARD}
    one, other = scores(whole, sides), scores(half, sides)
    size = max(float(value.abs().max()) for value in one.values())
    worst = max(float((one[key] - other[key]).abs().max()) for key in one)
    assert 0 < worst < ROUNDED * size


def test_float16_is_refused_with_what_to_take_instead(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"float16.*bfloat16.*does not overflow"):
        load_model("toy", dtype="float16")


@pytest.mark.parametrize("name", ["clip", "vilt", "llava", "gpt2"])
def test_quantised_weights_are_refused_before_they_are_loaded(
    tmp_path: Path,
    model_folder: Callable[[str], Path],
    language_folder: Callable[[str], Path],
    name: str,
) -> None:
    if name in _kinds():
        source = _kinds()[name][0](name, tmp_path / "source")
    else:
        source = language_folder(name) if name == "gpt2" else model_folder(name)
    folder = tmp_path / "model"
    folder.mkdir()
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadModel, match=r"quantised \(.*dequantize"):
        load_model(str(folder))


def test_networks_that_are_spread_or_quantised_in_memory_are_refused() -> None:
    net: Any = nn.Linear(2, 2)
    refuse_placement("mine", net)
    net.hf_device_map = {"": 0}
    refuse_placement("mine", net)
    net.hf_device_map = {"vision": 0, "lm": "cpu"}
    with pytest.raises(BadModel, match=r"spread over 0, cpu .*device='cuda'"):
        refuse_placement("mine", net)
    net.hf_device_map, net.is_quantized = {}, True
    net.config = SimpleNamespace(quantization_config=object())
    with pytest.raises(BadModel, match="quantised"):
        refuse_placement("mine", net)
