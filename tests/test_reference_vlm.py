"""The builder of the generative reference model, on drawn rectangles and random towers.

Nothing here says how good the real model is.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract import failed
from reference_parts import EXPERIMENTS, draw_photos, photos, tiny_vision
from tiny_image_text import TEXT, made_loud, sides, tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from vlbias.causal.conformance import conformance
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine
from vlbias.causal.example import Example, Picture
from vlbias.data.prompts import prompt_named
from vlbias.models import load_model

vlm = import_module("reference.vlm")
vlm_evaluate = import_module("reference.vlm_evaluate")
vlm_questions = import_module("reference.vlm_questions")
NAMES = ("person", "dog", "apple")
SMALL = "--pixels 8 --epochs 2 --batch 3 --views 2 --pairs 2 --rank 2"


def towers() -> tuple[Any, Any, Any]:
    read = tokenizer("<|im_start|>", "<|im_end|>", bos=False)
    torch.manual_seed(0)
    return tiny_vision(), made_loud(LlamaForCausalLM(LlamaConfig(**TEXT))), read


@pytest.fixture(scope="module")
def asked() -> tuple[Any, Any, Any]:
    """The untrained model, its questions, and one photo's states."""
    vision, language, read = towers()
    net = vlm.assemble(vision, language, read)
    asker = vlm_questions.Asker(vlm.processor_of(read, 8, 2), NAMES)
    pixels = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        states = vlm.Patches(net.model.vision_tower)(pixels).feature_maps[0][0]
    return net, asker, (pixels, states)


def test_packed_questions_are_answered_as_each_one_alone(asked: Any) -> None:
    net, asker, (pixels, states) = asked
    branches = [yes for yes, _ in asker.presence("question+person", "feminine")]
    branches.append(asker.caption("a man with a dog"))
    packed = vlm.pack(asker.head, len(states), branches)
    image = net.config.image_token_index
    with torch.no_grad():
        together = vlm.logits(net, states, len(asker.head), packed)
        for number, branch in enumerate(branches):
            tokens = [*asker.head, *[image] * len(states), *branch.asked, *branch.answer]
            alone = net(input_ids=torch.tensor([tokens]), pixel_values=pixels).logits[0]
            learnt = alone[-1 - len(branch.answer) : -1]
            torch.testing.assert_close(together[packed.branch == number], learnt)
    assert packed.target[packed.branch == 3].tolist() == list(branches[3].answer)


def test_yes_and_no_are_asked_equally_often_of_objects_in_view_and_out_of_it(asked: Any) -> None:
    _, asker, _ = asked
    photo = photos.Photo(
        1, Path("1.jpg"), ("a man",), np.zeros((2, 4)), np.array([0, 1]), "masculine"
    )
    rng, often = np.random.default_rng(0), np.array([1.0, 0.5, 0.5])
    for _ in range(20):
        # the dog is outside of the view: nobody asks for it
        *found, caption = asker.drawn(photo, np.array([0]), 2, often, rng)
        assert caption == asker.caption("a man")
        yes, no = found
        wordings = [asker.presence(w, "masculine") for w in vlm_questions.WORDINGS]
        assert yes in [each[0][0] for each in wordings]
        assert no in [each[2][1] for each in wordings]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module, with tiny towers instead of the published ones."""
    spec = spec_from_file_location("reference_vlm", EXPERIMENTS / "reference_vlm.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    vision = tiny_vision()
    monkeypatch.setattr(vlm_evaluate, "LEAST", 1)  # three photos a split
    monkeypatch.setattr(sys.modules["reference.measure"], "LEAST", 1)
    monkeypatch.setattr(module, "load_vision", lambda: (vision, {"name": "tiny"}))
    monkeypatch.setattr(module, "load_language", lambda: (*towers()[1:], {"name": "tiny"}))
    return module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    root.mkdir()
    return draw_photos(root)


def run(script: Any, folder: Path, out: Path) -> dict[str, Any]:
    assert script.main(["--photos", str(folder), "--out", str(out), *SMALL.split()]) == 0
    record: dict[str, Any] = json.loads((out / "training.json").read_text())
    return record


@pytest.mark.integration
def test_a_killed_training_goes_on_where_it_was(
    script: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(script, folder, tmp_path / "whole")
    trainer: Any = script.VlmTrainer
    epoch = trainer.epoch

    def dies(self: Any, report: Any) -> Any:
        if self.progress.epoch == 1:
            raise KeyboardInterrupt
        return epoch(self, report)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "epoch", dies)
        with pytest.raises(KeyboardInterrupt):
            run(script, folder, tmp_path / "killed")
    resumed = run(script, folder, tmp_path / "killed")
    assert resumed["restored_s"][0] > 0
    assert resumed["weights_sha256"] == whole["weights_sha256"]
    assert resumed["test"] == whole["test"]


@pytest.mark.integration
def test_the_built_folder_answers_as_training_measured_and_keeps_the_contract(
    script: Any, folder: Path, tmp_path: Path
) -> None:
    record = run(script, folder, tmp_path / "model")
    assert all(np.isfinite(value) for epoch in record["history"] for value in epoch.values())
    model: Any = load_model(str(tmp_path / "model"))
    ports = {port.name for port in model.ports if port.stage == "image_encoder"}
    assert ports == {"head", "neuron", "attn", "mlp", "resid"}
    corpus = photos.read_corpus(folder)
    test = corpus.split("test")
    examples = [
        Example(str(photo.id), str(photo.id), {"null": {
            "image": Picture(photo.path),
            "text": prompt_named("question").texts((), photo.gender, corpus.categories),
        }})
        for photo in test
    ]  # fmt: skip
    readout = next(
        iter(Engine(model, [Contrast("null", "null")], [], altered={}).run(examples))
    ).readout
    asker = vlm_questions.Asker(model._processor, corpus.categories)
    file = next((tmp_path / "model").glob("patches-*-test.npy"))
    kept = np.load(file, mmap_mode="r")
    mine = vlm_evaluate.presence(
        model.net, asker, lambda i: torch.tensor(kept[i, 0, 0]).float(), test, range(3)
    )
    # features were kept in half precision
    np.testing.assert_allclose(np.asarray(readout["class_logits"]), mine, atol=0.05)
    assert failed(conformance(model, *sides())) == {}
