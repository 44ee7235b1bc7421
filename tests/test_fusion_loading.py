"""Fusion encoders and descendants of CLIP from folders: what loads, what a study asks, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contract import failed
from safetensors.torch import load_file, save_file
from tiny_descendants import DESCENDANTS, descendant
from tiny_fusion import FUSION, write_fusion
from tiny_photos import pictures, sides

import vlbias as vb
from vlbias.causal.conformance import conformance
from vlbias.errors import BadData, BadModel
from vlbias.models import FAMILIES, MODELS, load_model, outline_model
from vlbias.models.fusion.families import FAMILIES as CLASSES
from vlbias.models.fusion.layouts import LAYOUTS
from vlbias.models.fusion.loading import load_similarity, refuse_architecture
from vlbias.models.fusion.passes import SCORES

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family, written once."""
    root = tmp_path_factory.mktemp("fusion")

    def of(kind: str) -> Path:
        path = root / kind
        return path if path.is_dir() else write_fusion(kind, path)

    return of


def copied(source: Path, target: Path) -> Path:
    """A copy of a folder that a test may spoil."""
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


@pytest.mark.parametrize("kind", FUSION)
def test_folders_load_and_say_of_what_they_are_made(
    folder: Callable[[str], Path], kind: str
) -> None:
    model = load_model(str(folder(kind)))
    assert model.gives == {"class_logits", "score"}
    outline = outline_model(str(folder(kind)))
    assert outline.towers == model.towers
    assert outline.ports == model.ports
    with pytest.raises(BadModel, match="outline"):
        outline.collate("model", [(pictures(1)[0], "a dog")])


def test_a_folder_is_also_loaded_by_its_contrastive_head(folder: Callable[[str], Path]) -> None:
    model = load_similarity(str(folder("blip2")), name="mine-similarity")
    outline = load_similarity(str(folder("blip2")), name="mine-similarity", weights=False)
    assert model.name == outline.name == "mine-similarity"
    assert outline.ports == model.ports
    assert [tower.name for tower in model.towers] == ["image_encoder", "text_encoder"]
    names = {name for name in MODELS if name.endswith("-similarity")}
    assert len(names) == sum(family.compares for family in CLASSES.values()) == 3


def test_presence_of_objects_comes_from_prompts(folder: Callable[[str], Path]) -> None:
    images = [picture.open() for picture in pictures(4)]
    texts = ("a photo of a dog", "a photo of a cup")
    examples = vb.paired_examples(images[:2], images[2:], [texts] * 2)
    model: Any = load_model(str(folder("blip2")))
    table = vb.potential_outcomes(
        model, examples, ["image_encoder"], ["presence"], classes=("dog", "cup")
    )
    assert set(table["arm"]) == {"00", "01", "10", "11"}
    assert table["value"].notna().all()


def test_every_class_has_all_that_it_needs() -> None:
    assert set(CLASSES) == set(LAYOUTS) == set(SCORES)
    examples = {dict(MODELS.entry(name).options).get("checkpoint") for name in MODELS}
    assert {family.example for family in CLASSES.values()} <= examples


@pytest.mark.parametrize("kind", ["lxmert", "visual_bert"])
def test_models_of_regions_are_refused_with_the_reason(tmp_path: Path, kind: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, "architectures": []}))
    with pytest.raises(BadModel, match="regions that a detector of its own"):
        load_model(str(tmp_path))


def test_a_class_without_a_match_head_is_named() -> None:
    with pytest.raises(
        BadModel, match=r"BlipForConditionalGeneration.*no head.*blip-itm-base-coco"
    ):
        refuse_architecture("mine", "blip", "BlipForConditionalGeneration")
    with pytest.raises(BadModel, match="no class in"):
        refuse_architecture("mine", "vilt", "")


def test_what_a_folder_lacks_is_named(folder: Callable[[str], Path], tmp_path: Path) -> None:
    bare = copied(folder("vilt"), tmp_path / "bare")
    (bare / "preprocessor_config.json").unlink()
    with pytest.raises(BadModel, match="image processor and tokenizer"):
        load_model(str(bare))
    headless = copied(folder("vilt"), tmp_path / "headless")
    weights = load_file(headless / "model.safetensors")
    kept = {key: value for key, value in weights.items() if not key.startswith("rank_output")}
    save_file(kept, headless / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadModel, match=r"missing and would be random.*rank_output"):
        load_model(str(headless))


def test_texts_and_photos_that_do_not_fit_are_named(folder: Callable[[str], Path]) -> None:
    model = load_model(str(folder("vilt")))
    photo, wide = pictures(1)[0], pictures(1, 1, (80, 30))[0]
    with pytest.raises(BadModel, match="the model takes 24"):
        model.collate("model", [(photo, "a dog " * 20)])
    with pytest.raises(BadData, match=r"photos of the sizes \[\(40, 30\), \(80, 30\)\]"):
        model.collate("model", [(photo, "a dog"), (wide, "a dog")])
    with pytest.raises(BadData, match=r"\[SEP\]"):
        model.collate("model", [(photo, "a dog [SEP]")])


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.slow if kind != "chinese_clip" else ())
        for kind in DESCENDANTS
    ],
)
def test_descendants_of_clip_keep_the_contract(kind: str) -> None:
    assert failed(conformance(descendant(kind), *sides(2))) == {}
    assert FAMILIES[kind] == "vlbias.models.dual"


def test_llmdet_is_an_mm_grounding_dino() -> None:
    # its published configurations name that class: the library has none of its own
    target = MODELS.entry("llmdet-tiny").target
    assert target == MODELS.entry("mm-groundingdino-tiny").target
