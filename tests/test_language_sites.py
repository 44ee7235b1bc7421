"""Sites of language models: where words lie, arms at them, and sites that are not there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from language_arms import Load, sides, worlds
from naive import naive_arms
from tiny_language import cloze

from vlbias.causal.cloze import Cloze
from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine, altered_channels
from vlbias.causal.example import Inputs
from vlbias.causal.staged_model import resolve
from vlbias.errors import BadStudy, UnknownName


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


def _numbers(positions: Any, tokens: Any) -> Any:
    if positions is None:
        return None
    return tuple(
        p for name in positions for p in (tokens.spans[name] if isinstance(name, str) else (name,))
    )


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
