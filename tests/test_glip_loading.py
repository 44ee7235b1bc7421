"""Published checkpoints of GLIP load by their path and names, and what does not fit is refused by name."""

from __future__ import annotations

import os
import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_detectors import GLIP, bert_tokenizer, loud_detector
from tiny_photos import CLASSES, pictures
from torch import Tensor

from vlbias.causal.example import GroundedText
from vlbias.errors import BadModel
from vlbias.models import MODELS, load_model
from vlbias.models.glip.checkpoint import filled, read_weights, shape_of
from vlbias.models.glip.head import anchors
from vlbias.models.glip.loading import convert
from vlbias.models.glip.network import GlipNet
from vlbias.models.glip.published import PUBLISHED, Published
from vlbias.models.glip.shape import GlipConfig

pytestmark = pytest.mark.integration

NAMES = Path(__file__).parent / "glip_peer"
"""Names and sizes of weights as the public implementation's own modules have them, written by
`python experiments/glip_parity.py --peer CHECKOUT --names tests/glip_peer`."""
SAVED_BY_OLD_RELEASES = {"module.language_backbone.body.model.embeddings.position_ids": (1, 512)}


def official(file: str) -> dict[str, tuple[int, ...]]:
    """Name to size; "a.{0,1}.b 2x3" is two names."""
    found = dict(SAVED_BY_OLD_RELEASES)
    for line in (NAMES / f"{file}.txt").read_text().splitlines():
        pattern, size = line.split(" ")
        stem = re.sub(r"\{[\d,]+\}", "{}", pattern)
        numbers = [one.split(",") for one in re.findall(r"\{([\d,]+)\}", pattern)]
        for some in product(*numbers):
            found[stem.format(*some)] = tuple(map(int, re.findall(r"\d+", size)))
    return found


def synthetic(file: str, folder: Path) -> Path:
    """A checkpoint with official names in which every weight has a number of its own; small on disk."""
    config = GlipConfig()
    squares = anchors([(1, 1)] * 5, config.strides, config.anchor_sizes)
    weights: dict[str, Tensor] = {}
    for number, (name, size) in enumerate(official(file).items()):
        weights[name] = torch.full((1,) * len(size), float(number)).expand(size)
        if "cell_anchors" in name:
            weights[name] = squares[int(name[-1]), None]
    path = folder / f"{file}.pth"
    torch.save({"model": weights, "optimizer": {"state": {}}, "scheduler": {"last": 3}}, path)
    return path


@pytest.mark.parametrize(
    ("name", "count"), [("glip-tiny-a", 541), ("glip-tiny-c", 745), ("glip-large", 1021)]
)
def test_our_names_and_sizes_are_the_official_ones(name: str, count: int) -> None:
    published = PUBLISHED[name]
    names = official(published.file.removesuffix(".pth"))
    assert len(names) == count + 1
    with torch.device("meta"):
        state = GlipNet(GlipConfig(**published.shape)).state_dict()
    ours = {f"module.{key}": tuple(value.shape) for key, value in state.items()}
    besides = ("relative_position_index", "cls_logits", "cell_anchors", "position_ids")
    assert ours == {k: v for k, v in names.items() if not any(part in k for part in besides)}


@pytest.mark.slow
def test_a_synthetic_checkpoint_with_official_names_loads(tmp_path: Path) -> None:
    path = synthetic("glip_tiny_model_o365_goldg", tmp_path)
    assert path.stat().st_size < 2e6
    weights = read_weights(path)
    config = shape_of(weights, str(path))
    assert (config.embed_dim, config.num_layers, config.fused) == (96, 6, True)
    net = filled(GlipNet(config), weights, str(path))
    numbers = {name: i for i, name in enumerate(official("glip_tiny_model_o365_goldg"))}
    for name, value in net.state_dict().items():
        assert bool((value == numbers[f"module.{name}"]).all()), name


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the file of a small checkpoint holds, which counts as published."""
    monkeypatch.setitem(PUBLISHED, "small", Published("small.pth", "small", GLIP))
    torch.manual_seed(0)
    net = loud_detector(GlipNet(GlipConfig(**GLIP)))
    weights = {f"module.{name}": value for name, value in net.state_dict().items()}
    weights["module.rpn.head.cls_logits.weight"] = torch.zeros(80, 16, 1, 1)
    weights["module.rpn.anchor_generator.cell_anchors.1"] = torch.tensor([[0.0, 0, 15, 15]])
    bert_tokenizer().save_pretrained(tmp_path)
    return {"model": weights, "optimizer": {"lr": 0.1}}


def saved(content: Any, folder: Path) -> str:
    torch.save(content, folder / "small.pth")
    return str(folder / "small.pth")


def test_a_file_and_the_folder_it_is_converted_to_are_one_model(
    tiny: dict[str, Any], tmp_path: Path
) -> None:
    path = saved(tiny, tmp_path)
    convert(path, tmp_path / "folder")
    assert {file.name for file in (tmp_path / "folder").iterdir()} >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    }
    models: list[Any] = [load_model(path), load_model(str(tmp_path / "folder"))]
    assert models[0].name == "small"
    assert models[0].revision != models[1].revision != ""
    inputs = {"image": pictures(1)[0], "text": GroundedText("a man. ", CLASSES)}
    with torch.no_grad():
        one, other = (
            model.encode("model", model.collate("model", model.split(inputs)["model"]))
            for model in models
        )
    for key, value in one.items():  # where weights lie in memory is heard in the last place
        torch.testing.assert_close(other[key], value, atol=1e-4, rtol=1e-5)
    with pytest.raises(BadModel, match="is not empty"):
        convert(path, tmp_path / "folder")
    with pytest.raises(BadModel, match=r"only \.pth files"):
        convert(str(tmp_path / "folder"), tmp_path / "other")


def test_names_that_do_not_fit_are_refused_by_name(tiny: dict[str, Any], tmp_path: Path) -> None:
    weights = tiny["model"]

    def refused(words: str, **changes: Tensor | None) -> None:
        content = {**weights, **{f"module.{k}": v for k, v in changes.items()}}
        content = {name: value for name, value in content.items() if value is not None}
        with pytest.raises(BadModel, match=words):
            load_model(saved({"model": content}, tmp_path))

    scale, one = "rpn.head.log_scale", torch.ones(1)
    refused(r"1 weights are missing .*rpn\.head\.log_scale", **{scale: None})
    refused(r"1 weights have no place .*rpn\.tunable_linear", **{"rpn.tunable_linear.weight": one})
    refused(r"rpn\.head\.log_scale' has the size \(2,\), expected \(1,\)", **{scale: torch.ones(2)})
    refused("'rpn.head.log_scale' holds NaN", **{scale: one * torch.nan})
    squares = {"rpn.anchor_generator.cell_anchors.1": torch.tensor([[0.0, 0, 31, 31]])}
    refused(r"cell_anchors\.1 is .* expected \[0\.0, 0\.0, 15\.0, 15\.0\]", **squares)
    first = "backbone.body.patch_embed.proj.weight"
    refused("none of the published GLIP models: there is no .*patch_embed", **{first: None})
    refused("has 7 channels, with deep fusion", **{first: torch.ones(7, 3, 4, 4)})


def test_files_that_are_no_checkpoints_are_refused(tiny: dict[str, Any], tmp_path: Path) -> None:
    for content in ({"model": {}}, {"model": {"a": 3}}, [1, 2]):
        with pytest.raises(BadModel, match="expected the weights of a GLIP"):
            load_model(saved(content, tmp_path))
    path = tmp_path / "small.pth"
    whole = Path(saved(tiny, tmp_path)).read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"text" * 99):
        path.write_bytes(damaged)
        with pytest.raises(BadModel, match=r"cannot be read|or are damaged"):
            load_model(str(path))


class _Harmful:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


def test_no_code_in_a_file_is_run(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadModel, match="could run code, so it is refused"):
        load_model(saved({**tiny, "hooks": _Harmful()}, tmp_path))
    assert not (tmp_path / "ran").exists()


def test_without_a_tokenizer_it_is_said_where_to_put_one(
    tiny: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "alone").mkdir()
    path = saved(tiny, tmp_path / "alone")
    with pytest.raises(BadModel, match=r"tokenizer of uncased BERT .* beside the weights"):
        load_model(path)
    convert(path, tmp_path / "folder", str(tmp_path))
    assert load_model(str(tmp_path / "folder")).name == "folder"
    with pytest.raises(BadModel, match="tokenizer of uncased BERT"):
        convert(path, tmp_path / "other", str(tmp_path / "nowhere"))
    assert not (tmp_path / "other").exists()


def test_a_published_name_offline_says_which_file_to_fetch() -> None:
    assert MODELS.entry("glip-large").options == (("checkpoint", "glip-large"),)
    with pytest.raises(BadModel, match=r"glip_large_model\.pth cannot be had from GLIPModel/GLIP"):
        load_model("glip-large")
