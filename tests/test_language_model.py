from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from contract import COMPLETE, HEARD, REPEATS, ROWS, failed
from naive import naive_arms
from tiny_language import CAUSAL, MASKED, cloze, language_sides, write_language
from torch import Tensor

from vlbias.causal.cloze import Cloze
from vlbias.causal.conformance import conformance
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine, altered_channels
from vlbias.causal.example import Example, Inputs
from vlbias.causal.staged import resolve
from vlbias.errors import BadData, BadModel, BadStudy, UnknownName
from vlbias.models import FAMILIES, load_model, outline_model
from vlbias.models.language.adapter import LanguageModel
from vlbias.models.language.layouts import LAYOUTS

Load = Callable[[str], LanguageModel]
EACH = [*CAUSAL, *MASKED]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root, made = tmp_path_factory.mktemp("language"), {}

    def of(kind: str) -> Path:
        if kind not in made:
            made[kind] = write_language(kind, root / kind)
        return made[kind]

    return of


@pytest.fixture(scope="module")
def language(folder: Callable[[str], Path]) -> Load:
    loaded: dict[str, Any] = {}

    def of(kind: str) -> LanguageModel:
        if kind not in loaded:
            loaded[kind] = load_model(str(folder(kind)))
        return loaded[kind]

    return of


def sides(kind: str) -> tuple[list[Inputs], list[Inputs]]:
    return language_sides(" ." if kind in MASKED else "")


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


def readout(model: LanguageModel, texts: Sequence[Cloze]) -> Tensor:
    examples = [Example(str(i), str(i), {"a": {"text": t}}) for i, t in enumerate(texts)]
    engine = Engine(model, [Contrast("a", "a")], [], altered={})
    return next(engine.run(examples)).readout["candidate_logprob"]


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


@pytest.mark.parametrize("kind", ["gpt2", "llama", "opt", "bert"])
@pytest.mark.parametrize(
    "site",
    [
        "lm/embed@word",
        "lm/head.1[2]",
        "lm/weights.1[0,3]@prompt",
        "lm/mlp.0[3]@word",
        "lm/neuron.2[5]@-1",
    ],
)
def test_arms_are_those_of_plain_hooks(language: Load, kind: str, site: str) -> None:
    model, (base, cf) = language(kind), sides(kind)
    contrasts = [Contrast("a", "b")]
    examples = worlds(base, cf)
    (mediator,) = resolve(model, [site])
    engine = Engine(model, contrasts, [mediator], altered=altered_channels(examples, contrasts))
    arms = {
        arm.arm: arm.readout["candidate_logprob"] for arm in engine.run(examples) if arm.mediator
    }
    for i, (a, b) in enumerate(zip(base, cf, strict=True)):
        tokens = model._ready(model.split(a)["lm"][0])
        named = replace(mediator.sites[0], positions=_numbers(mediator.sites[0].positions, tokens))
        plain = naive_arms(model, a, b, replace(mediator, sites=(named,)))
        for arm in ("01", "10"):
            expected = plain[arm]["candidate_logprob"][0]
            torch.testing.assert_close(arms[arm][i], expected, atol=2e-5, rtol=1e-5)


def worlds(base: list[Inputs], cf: list[Inputs]) -> list[Example]:
    pairs = zip(base, cf, strict=True)
    return [Example(str(i), str(i), {"a": a, "b": b}) for i, (a, b) in enumerate(pairs)]


def _numbers(positions: Any, tokens: Any) -> Any:
    if positions is None:
        return None
    return tuple(
        p for name in positions for p in (tokens.spans[name] if isinstance(name, str) else (name,))
    )


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
    folder: Callable[[str], Path], mutate: Callable[[LanguageModel], None], caught_by: str
) -> None:
    model = load_model(str(folder("gpt2")))
    mutate(model)
    assert caught_by in failed(conformance(model, *sides("gpt2")))


def test_a_leading_special_token_moves_the_positions(language: Load) -> None:
    text = cloze("nurse")
    spans = {
        kind: language(kind)._ready(language(kind).split({"text": text})["lm"][0]).spans
        for kind in ("llama", "qwen2")
    }
    assert spans["llama"]["word"] == (2,)
    assert spans["qwen2"]["word"] == (1,)
    assert spans["llama"]["prompt"] == (0, 1, 2, 3, 4)


def test_a_word_of_several_tokens_is_one_span(language: Load) -> None:
    model, text = language("gpt2"), cloze("librarian")
    tokens = model._ready(model.split({"text": text})["lm"][0])
    pieces = [model._ready._tokenizer.decode([tokens.ids[i]]) for i in tokens.spans["word"]]
    assert len(pieces) > 1
    assert "".join(pieces).strip() == "librarian"


def test_candidates_of_several_tokens_are_means_over_tokens(language: Load) -> None:
    model = language("gpt2")
    one = readout(model, [cloze("nurse", "he", "she")])[0]
    two = readout(model, [cloze("nurse", "he ran", "she")])[0]
    step = readout(model, [cloze("nurse", "ran", "ate", frame="The {} said that he")])[0, 0]
    assert two[1] == pytest.approx(float(one[1]), abs=1e-5)
    assert two[0] == pytest.approx(float(one[0] + step) / 2, abs=1e-5)


def test_worlds_of_other_length_are_misaligned(language: Load) -> None:
    model, contrast = language("gpt2"), Contrast("a", "b")
    null: list[Inputs] = [{"text": cloze("nurse")}, {"text": cloze("librarian")}]
    examples = worlds(null, [{"text": cloze("man")}] * 2)
    mediators = resolve(model, ["lm/mlp.1@word"])
    engine = Engine(model, [contrast], mediators, altered=altered_channels(examples, [contrast]))
    for arm in engine.run(examples):
        value = arm.readout["candidate_logprob"]
        assert arm.misaligned.tolist() == [False, bool(arm.mediator)]
        assert value.isnan().any(1).tolist() == [False, bool(arm.mediator)]


@pytest.mark.parametrize("site", ["lm/mlp.1@word", "lm/head.1", "lm/weights.0[1]@prompt"])
def test_worlds_whose_words_lie_elsewhere_are_misaligned(language: Load, site: str) -> None:
    """As many tokens, but the word is another one: nothing is exchanged."""
    model, contrast = language("gpt2"), Contrast("a", "b")
    elsewhere = Cloze("The man said that", ("he", "she"), (("word", 8, 12),))
    examples = worlds([{"text": cloze("nurse")}] * 2, [{"text": cloze("man")}, {"text": elsewhere}])
    engine = Engine(
        model, [contrast], resolve(model, [site]), altered=altered_channels(examples, [contrast])
    )
    for arm in engine.run(examples):
        lost = arm.readout["candidate_logprob"].isnan().any(1)
        assert arm.misaligned.tolist() == lost.tolist() == [False, bool(arm.mediator)]


@pytest.mark.parametrize(
    ("site", "error"),
    [
        ("lm/mlp.1@wrod", UnknownName),
        ("lm/mlps.1", UnknownName),
        ("lm/mlp.9", BadStudy),
        ("lm/mlp.1@7", BadStudy),
        ("lm/head.1[4]", BadStudy),
    ],
)
def test_a_site_that_is_not_there_is_refused(
    language: Load, site: str, error: type[Exception]
) -> None:
    model, contrast = language("gpt2"), Contrast("a", "b")
    examples = worlds([{"text": cloze("nurse")}], [{"text": cloze("man")}])
    with pytest.raises(error):
        list(Engine(model, [contrast], resolve(model, [site]), altered={}).run(examples))


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
    folder: Callable[[str], Path], language: Load
) -> None:
    outline = outline_model(str(folder("llama")))
    assert outline.ports == language("llama").ports
    with pytest.raises(BadModel, match="outline"):
        outline.split({"text": cloze("nurse")})


def test_random_weights_are_a_model_of_their_own(
    folder: Callable[[str], Path], language: Load
) -> None:
    one, again, other = (load_model(str(folder("gpt2")), random=seed) for seed in (0, 0, 1))
    assert one.revision == again.revision != other.revision
    texts = [cloze("nurse")]
    assert torch.equal(readout(one, texts), readout(again, texts))
    assert not torch.allclose(readout(one, texts), readout(language("gpt2"), texts))
    with pytest.raises(BadModel, match="random"):
        load_model("toy", random=0)
