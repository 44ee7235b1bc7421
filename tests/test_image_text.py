"""Generative image-text models: the contract, prefixes that may not be kept, answers, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from contract import SHORTCUTS, failed
from tiny_image_text import ANSWERS, asked, chat, image_text, llava, made_loud, photos, sides

from vlbias.causal.cloze import Cloze
from vlbias.causal.conformance import conformance
from vlbias.causal.conformance_shortcuts import check_shortcuts
from vlbias.causal.conformance_subject import Subject
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine, altered_channels
from vlbias.causal.example import Example, mix
from vlbias.causal.staged_model import resolve
from vlbias.errors import BadData, BadModel, BadStudy
from vlbias.models.image_text.adapter import BEGINS, IDENTITY, ImageText, refuse_family
from vlbias.models.image_text.question import Question


@pytest.fixture(scope="module")
def model() -> Any:
    return image_text("llava")


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["llava", "qwen2_vl"])
def test_families_keep_the_contract(kind: str) -> None:
    assert failed(conformance(image_text(kind), *sides())) == {}


@pytest.mark.integration
def test_a_prefix_kept_where_the_prompt_attends_both_ways_is_caught() -> None:
    model = image_text("paligemma")
    assert model.towers[0].causal is None
    assert "see later ones" in model.prefix
    subject = subject_of(model)
    assert check_shortcuts(subject)[0]
    model.towers = (replace(model.towers[0], causal=IDENTITY, reads="at", begins=BEGINS),)
    held, detail = check_shortcuts(subject)
    assert not held
    assert "cf-text" in detail or "cf-image" in detail


def subject_of(model: Any) -> Subject:
    base, cf = sides(1)
    worlds = {"base": base[0], "cf": cf[0]}
    worlds |= {f"cf-{channel}": mix(base[0], cf[0], {channel}) for channel in base[0]}
    return Subject(model, [Example("0", "0", worlds)], 1e-5)


def test_the_check_of_shortcuts_is_part_of_the_contract() -> None:
    from vlbias.models.check_adapter import check

    assert SHORTCUTS in [finding.name for finding in check("toy")]


@torch.inference_mode()
def test_answers_are_those_of_the_network_itself(model: Any) -> None:
    """One plain forward pass of transformers, a candidate at a time."""
    text, photo = asked("man"), photos(1)[0]
    prompt = model._processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text.text}]}],
        add_generation_prompt=True,
        tokenize=False,
    )
    rows = model.split({"image": photo, "text": text})["model"]
    values = torch.cat([model.encode("model", model.collate("model", [row])) for row in rows])
    index = {"model": torch.arange(len(rows))[None]}
    found = model.join({"model": values}, index)["candidate_logprob"][0]
    for k, answer in enumerate(ANSWERS):
        given = model._processor(
            text=[f"{prompt} {answer}"], images=[[photo.open()]], return_tensors="pt"
        )
        with torch.inference_mode():
            logprob = model.net(**given).logits[0].log_softmax(-1)
        ids = given["input_ids"][0]
        size = len(answer.split())
        each = [float(logprob[-1 - size + i, ids[i - size]]) for i in range(size)]
        assert float(found[k]) == pytest.approx(sum(each) / size, abs=1e-5)


def test_a_text_contrast_never_runs_the_image_again(model: Any) -> None:
    base, cf = sides(1)
    worlds = {"null": base[0], "text": mix(base[0], cf[0], {"text"})}
    example, contrast = Example("0", "0", worlds), Contrast("null", "text")
    mediators = resolve(model, ["lm/head.*[*]", "lm/mlp.1@word", "lm/resid.0@-1"])
    altered = altered_channels([example], [contrast])
    seen: list[int] = []
    block = model.net.get_submodule("model.language_model.layers.2")
    handle = block.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    try:
        arms = {}
        for narrow in (True, False):
            engine = Engine(model, [contrast], mediators, altered=altered)
            engine.plans["model"].narrow = narrow
            arms[narrow] = [arm.readout["candidate_score"] for arm in engine.run([example])]
            if narrow:
                whole = max(seen)
                assert (
                    sorted(seen)[: len(seen) // 2][-1] < whole - 16
                )  # the image's tokens are left off
    finally:
        handle.remove()
    for one, other in zip(arms[True], arms[False], strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-5)


def test_questions_on_one_photo_share_its_pass(model: Any) -> None:
    """Without mediators, a photo's tokens run once for all classes that are asked for."""
    texts = tuple(f"Is there a {word} in this photo?" for word in ("dog", "cat", "cup", "horse"))
    one, other = photos(2)
    worlds = {"null": {"image": one, "text": texts}, "image": {"image": other, "text": texts}}
    example, contrast = Example("0", "0", worlds), Contrast("null", "image")
    seen: list[int] = []
    block = model.net.get_submodule("model.language_model.layers.0")
    handle = block.register_forward_pre_hook(lambda _, args: seen.append(args[0][..., 0].numel()))
    arms, tokens = {}, {}
    try:
        for narrow in (True, False):
            engine = Engine(model, [contrast], [], altered=altered_channels([example], [contrast]))
            plan = engine.plans["model"]
            plan.narrow = narrow
            rows = model.split(worlds["null"])["model"]
            plan._ensure_trace(model.collate("model", list(rows)))
            seen.clear()
            arms[narrow] = [arm.readout["class_logits"] for arm in engine.run([example])]
            tokens[narrow] = sum(seen)
    finally:
        handle.remove()
    assert tokens[True] < 0.75 * tokens[False]
    for found, expected in zip(arms[True], arms[False], strict=True):
        assert found.shape == (1, 4)
        assert torch.allclose(found, expected, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_questions_score_the_odds_of_the_answers(model: Any) -> None:
    photo = photos(1)[0]
    texts = ("Is there a dog in this photo?", "Is there a cat in this photo?")
    for question in (Question(), Question(order="reversed"), Question(instruction="")):
        other = model.asking(question)
        rows = other.split({"image": photo, "text": texts})["model"]
        assert len(rows) == 4
        values = {"model": other.encode("model", other.collate("model", list(rows)))}
        readout = other.join(values, {"model": torch.arange(4)[None]})
        assert readout["class_logits"].shape == (1, 2)
        clozes = question.asked(texts)
        alone = other.split({"image": photo, "text": clozes[1]})["model"]
        value = other.encode("model", other.collate("model", list(alone)))[0].double()
        assert float(readout["class_logits"][0, 1]) == pytest.approx(
            float(value[0] - value[1]), abs=1e-5
        )
    first, second = (
        Question(order=order).asked("x?")[0].text for order in ("as given", "reversed")
    )
    assert (first, second) == ("x? Answer yes or no.", "x? Answer no or yes.")


@pytest.mark.parametrize("wrong", [{"answers": ("yes", "yes")}, {"instruction": "Say {first}."}])
def test_questions_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadStudy, match="question"):
        Question(**wrong)


def test_candidates_that_share_their_first_token_are_refused(model: Any) -> None:
    with pytest.raises(BadData, match="share their first token"):
        model.split(
            {"image": photos(1)[0], "text": asked("man", answers=("not here", "not there"))}
        )


def test_a_template_that_drops_the_image_is_refused() -> None:
    net, processor = llava()
    processor.chat_template = chat("")
    with pytest.raises(BadModel, match="drops the image"):
        ImageText(made_loud(net), processor, name="blind", revision="r")


def test_a_photo_with_more_tokens_than_the_model_takes_is_refused(model: Any) -> None:
    text = " ".join(["there"] * 260)
    with pytest.raises(BadModel, match="16 of them of the image; the model takes 256"):
        model.refuse_inputs([{"image": photos(1)[0], "text": Cloze(text, ("yes", "no"))}])


def test_families_that_cannot_be_taken_say_why() -> None:
    with pytest.raises(BadModel, match="no image encoder"):
        refuse_family("mine", "fuyu")
    with pytest.raises(BadModel, match="not known"):
        refuse_family("mine", "fuyu2")


def test_a_folder_without_processor_is_refused_by_name(tmp_path: Path) -> None:
    from vlbias.models import load_model, outline_model

    net, processor = llava()
    net.save_pretrained(tmp_path)
    processor.tokenizer.save_pretrained(tmp_path)
    for make in (outline_model, load_model):
        with pytest.raises(BadModel, match="processor"):
            make(str(tmp_path))
    processor.save_pretrained(tmp_path)
    outline = outline_model(str(tmp_path))
    assert {port.name for port in outline.ports} == {"resid", "attn", "mlp", "head", "neuron"}
    assert load_model(str(tmp_path)).revision != "outline"
