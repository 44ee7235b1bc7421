"""Language models: contract, probabilities of the library, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from contract import COMPLETE, HEARD, REPEATS, ROWS, failed
from language_arms import Load, readout, sides
from tiny_language import CAUSAL, MASKED, cloze
from torch import Tensor

from vlbias.causal.cloze import Cloze
from vlbias.causal.conformance import conformance
from vlbias.errors import BadData, BadModel
from vlbias.models import FAMILIES, load_model, outline_model
from vlbias.models.language.adapter import LanguageModel
from vlbias.models.language.layouts import LAYOUTS

EACH = [*CAUSAL, *MASKED]


def logprobs(model: LanguageModel, text: Cloze) -> Tensor:
    """By the plain forward pass of transformers, one candidate and one row at a time."""
    found = []
    for row, k in zip(model.split({"text": text})["lm"], range(99), strict=False):
        batch = model.collate("lm", [row])
        mask = batch["attention_mask"]
        with torch.inference_mode():
            logits = model.net(input_ids=batch["input_ids"], attention_mask=mask).logits[0]
        places = batch["at"][0].tolist()
        tokens = batch["ask"][0, :, k].tolist()
        steps = [logits[p].log_softmax(0)[t] for p, t in zip(places, tokens, strict=True) if t >= 0]
        found.append(torch.stack(steps).mean())
    return torch.stack(found)


@pytest.mark.integration
@pytest.mark.parametrize("kind", EACH)
def test_families_keep_the_contract(language: Load, kind: str) -> None:
    assert failed(conformance(language(kind), *sides(kind))) == {}


def test_every_layout_has_a_family() -> None:
    ours = {kind for kind, module in FAMILIES.items() if "language" in module}
    assert ours == set(LAYOUTS)


@pytest.mark.parametrize("kind", EACH)
def test_probabilities_are_those_of_transformers(language: Load, kind: str) -> None:
    model, texts = language(kind), [side["text"] for side in sides(kind)[0]]
    expected = torch.stack([logprobs(model, text) for text in texts])
    torch.testing.assert_close(readout(model, texts), expected.double(), atol=2e-5, rtol=1e-5)


def padding_is_read(model: LanguageModel) -> None:
    collate = model.collate

    def last(tower: str, rows: Sequence[Any]) -> dict[str, Tensor]:
        batch = collate(tower, rows)
        return {**batch, "at": torch.full_like(batch["at"], batch["input_ids"].shape[1] - 1)}

    model.collate = last  # type: ignore[method-assign]


def stage_is_one_block_s_mlp(model: LanguageModel) -> None:
    stage = replace(model.towers[0].stages[0], module=f"{model.layout.blocks}.1.mlp", blocks=())
    model.towers = (replace(model.towers[0], stages=(stage,)),)


def a_block_adds_noise(model: LanguageModel) -> None:
    model.net.get_submodule(model.layout.blocks)[1].register_forward_hook(
        lambda _, __, out: out + torch.randn_like(out)
    )


def quiet(model: LanguageModel) -> None:
    with torch.no_grad():
        model.net.get_submodule(model.layout.embed).weight.mul_(1e-7)


@pytest.mark.parametrize(
    ("mutate", "caught_by"),
    [
        (padding_is_read, ROWS),
        (stage_is_one_block_s_mlp, COMPLETE),
        (a_block_adds_noise, REPEATS),
        (quiet, HEARD),
    ],
)
def test_mutants_are_caught(
    language_folder: Callable[[str], Path], mutate: Callable[[LanguageModel], None], caught_by: str
) -> None:
    model = load_model(str(language_folder("gpt2")))
    mutate(model)
    assert caught_by in failed(conformance(model, *sides("gpt2")))


def test_candidates_of_several_tokens_are_means_over_tokens(language: Load) -> None:
    model = language("gpt2")
    one = readout(model, [cloze("nurse", "he", "she")])[0]
    two = readout(model, [cloze("nurse", "he ran", "she")])[0]
    step = readout(model, [cloze("nurse", "ran", "ate", frame="The {} said that he")])[0, 0]
    assert two[1] == pytest.approx(float(one[1]), abs=1e-5)
    assert two[0] == pytest.approx(float(one[0] + step) / 2, abs=1e-5)


@pytest.mark.parametrize("candidates", [("he", " "), ("he", "he"), ("he",)])
def test_candidates_that_say_nothing_are_refused(candidates: tuple[str, ...]) -> None:
    with pytest.raises(BadData, match="he"):
        Cloze("The nurse said that", candidates)


def test_candidates_without_tokens_of_their_own_are_refused(language: Load) -> None:
    model = language("bert")  # which drops what it cannot show
    with pytest.raises(BadData, match="candidate"):
        model.split({"text": cloze("nurse", "he", "\u200b")})


def test_text_after_the_gap_is_refused_by_causal_models(language: Load) -> None:
    with pytest.raises(BadData, match="after"):
        language("gpt2").split({"text": replace(cloze("nurse"), after=" .")})


def test_texts_that_are_too_long_are_refused(language: Load) -> None:
    model = language("gpt2")
    rows = model.split({"text": Cloze("The " + "nurse " * 200 + "said", ("he", "she"))})["lm"]
    with pytest.raises(BadModel, match="160"):
        model.collate("lm", rows)


def test_mixtures_of_experts_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen3_moe"}')
    with pytest.raises(BadModel, match="mixture of experts"):
        outline_model(str(tmp_path))


def test_an_outline_has_the_sites_and_cannot_run(
    language_folder: Callable[[str], Path], language: Load
) -> None:
    outline = outline_model(str(language_folder("llama")))
    assert outline.ports == language("llama").ports
    with pytest.raises(BadModel, match="outline"):
        outline.split({"text": cloze("nurse")})


def test_random_weights_are_a_model_of_their_own(
    language_folder: Callable[[str], Path], language: Load
) -> None:
    one, again, other = (
        load_model(str(language_folder("gpt2")), random=seed) for seed in (0, 0, 1)
    )
    assert one.revision == again.revision != other.revision
    texts = [cloze("nurse")]
    assert torch.equal(readout(one, texts), readout(again, texts))
    assert not torch.allclose(readout(one, texts), readout(language("gpt2"), texts))
    with pytest.raises(BadModel, match="random"):
        load_model("toy", random=0)
