"""The study of symbolic mechanisms on a net whose three heads are wired by hand: the truth is exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from vlbias.causal.staged_model import resolve
from vlbias.models import load_model
from vlbias.studies.symbolic.ablation import ablation_rows
from vlbias.studies.symbolic.head_types import HEAD_TYPES, RULES
from vlbias.studies.symbolic.numbers.heads import head_table
from vlbias.studies.symbolic.plan import Part
from vlbias.studies.symbolic.prompts import Format, abstract_pair, drawn_items, token_pair
from vlbias.studies.symbolic.recording import recorded_heads, silenced_heads
from vlbias.studies.symbolic.scores import mediator_scores
from vlbias.studies.symbolic.solving import Drawer
from vlbias.studies.symbolic.steps import STEPS
from vlbias.studies.symbolic.study import Study
from vlbias.studies.symbolic.wired_net import WIRED, write_wired

SHOTS = 3
WORDS = [chr(code) for code in range(97, 123)]


@pytest.fixture(
    scope="module",
    params=[pytest.param(0.0, id="plain"), pytest.param(0.02, id="noise", marks=pytest.mark.slow)],
)
def drawer(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Drawer:
    folder = write_wired(tmp_path_factory.mktemp("wired") / "net", noise=request.param)
    study = Study(name="wired", model=str(folder), shots=SHOTS, ablation=(1,), ablation_draws=3)
    model: Any = load_model(str(folder))
    return Drawer(model.scores_only(), study)


def scored(drawer: Drawer, pairs: int = 10) -> list[dict[str, Any]]:
    parts = [("abstract", "both"), ("token", "ABA"), ("token", "ABB")]
    return [
        {
            "kind": kind,
            "rule": rule,
            **STEPS["scores"](drawer, Part("scores", kind, rule, 0, pairs, SHOTS)),
        }
        for kind, rule in parts
    ]


def test_prompts_have_the_published_layout() -> None:
    """B1: 6n + 4 tokens, third items at 6k + 4; what a pair keeps and what it changes."""
    layout = Format(SHOTS)
    rng = np.random.default_rng(0)
    for number in range(50):
        items = drawn_items(WORDS, layout, rng)
        assert len({item for pair in items for item in pair}) == 2 * (SHOTS + 1)
        pair = abstract_pair(str(number), items, layout)
        aba, abb = (pair.worlds[rule] for rule in RULES)
        for prompt in (aba, abb):
            assert len(prompt.words) == 6 * SHOTS + 4
            assert set(prompt.words[1::2]) == {"^", "\n"}
            for k in range(SHOTS):
                first, second, third = (prompt.words[6 * k + slot] for slot in (0, 2, 4))
                assert third == (first if prompt.rule == "ABA" else second)
            spans = prompt.cloze(pair.candidates).spans
            assert [prompt.text[a:b] for _, a, b in spans] == [
                prompt.words[layout.third(k)] for k in range(SHOTS)
            ]
        assert [aba.words[layout.third(k)] for k in range(SHOTS)] == [
            abb.words[layout.third(k)] for k in range(SHOTS)
        ]
        assert aba.answer == abb.answer
        assert pair.rival_of("ABA") == pair.rival_of("ABB") == aba.rival
        assert pair.base_rule("ABA") == "ABB"
        for rule in RULES:
            swap = token_pair(str(number), items, rule, layout)
            asked, swapped = swap.worlds["asked"], swap.worlds["swapped"]
            assert asked.rule == swapped.rule == rule
            assert asked.words[: 6 * SHOTS] == swapped.words[: 6 * SHOTS]
            assert swap.rival_of("swapped") == asked.answer


def test_exactly_the_wired_heads_are_found(drawer: Drawer) -> None:
    """B2 and B3: a score of twice the gap for one head of each type, none for the others or in other pairs."""
    cells = scored(drawer)
    table = head_table(cells, 0.05, 2000, 0)
    for kind in HEAD_TYPES:
        part = table[table["type"] == kind.name].set_index(["layer", "head"])
        found = part.index[part["found"]].tolist()
        assert found == [WIRED[kind.name]]
        assert part.loc[WIRED[kind.name], "score"] == pytest.approx(20.0, abs=0.05)
        assert part["score"].drop([WIRED[kind.name]]).abs().max() < 0.01
        assert abs(part.loc[WIRED[kind.name], "score_other_pairs"]) < 0.01


def test_the_score_is_the_language_study_s_effect_on_another_scale(drawer: Drawer) -> None:
    """B12: exp(s) - 1 is the ratio of odds that Vig et al. take, computed here from whole patched passes."""
    pair = abstract_pair(
        "one", drawn_items(WORDS, Format(SHOTS), np.random.default_rng(3)), Format(SHOTS)
    )
    model = drawer.model
    layer, head = WIRED["induction"]
    score = mediator_scores(
        model, [pair], resolve(model, [f"lm/head.{layer}[{head}]@-1"]), 8
    ).score[0, 0]
    given = {name: recorded_heads(model, [drawer.ids(pair.worlds[name])]).output for name in RULES}
    answer, rival = (drawer.vocabulary.ids[word] for word in pair.candidates[::-1])
    for direction, (own, other) in enumerate((RULES, RULES[::-1])):
        ids = [drawer.ids(pair.worlds[own])]
        donated = torch.tensor(given[other][0, layer, -1, head])
        module = model.net.get_submodule(f"model.layers.{layer}.attention.out")
        width = donated.shape[0]

        def patch(_: Any, args: Any, donated: Any = donated, width: int = width) -> Any:
            changed = args[0].clone()
            changed[:, -1, head * width : (head + 1) * width] = donated
            return (changed,)

        plain = model.next_token_logits(ids)[0].double().softmax(0)
        handle = module.register_forward_pre_hook(patch)
        patched = model.next_token_logits(ids)[0].double().softmax(0)
        handle.remove()
        odds = (patched[rival] / patched[answer]) / (plain[rival] / plain[answer])
        assert np.expm1(score[direction]) == pytest.approx(float(odds) - 1, rel=1e-4)


@pytest.mark.integration
def test_ablation_and_its_controls(drawer: Drawer) -> None:
    """B4: without abstraction or induction it guesses, without retrieval it fails, controls do nothing."""
    cells = scored(drawer, pairs=4)
    scores = {
        kind.name: np.concatenate(
            [np.array(c["scores"][kind.site]) for c in cells if c["kind"] == kind.pairs], axis=2
        ).mean(axis=(2, 3))
        for kind in HEAD_TYPES
    }
    prompts = [
        p for n, rule in enumerate(RULES) for p in drawer.prompts(rule, Format(SHOTS), 500, 9, n)
    ]
    rows = {
        (row["type"], row["arm"], row["draw"]): row["accuracy"]
        for row in ablation_rows(drawer, prompts, scores)
    }
    assert rows["none", "none", 0] == 1.0
    assert rows["abstraction", "top", 0] == pytest.approx(0.51, abs=0.05)
    assert rows["induction", "top", 0] == pytest.approx(0.51, abs=0.05)
    assert rows["retrieval", "top", 0] <= 0.05
    for name in WIRED:
        assert rows[name, "same layers", 0] >= 0.99
        others = [
            value for (kind, arm, _), value in rows.items() if (kind, arm) == (name, "random")
        ]
        # a random set may hold a wired head of another type, which is silenced at its tokens
        assert max(others) >= 0.99


def test_similarity_attention_and_decoding(drawer: Drawer) -> None:
    """B5: outputs of the first two types follow the rule, those of the third the token."""
    found = STEPS["probe"](drawer, Part("probe", "", "both", 0, 320, SHOTS))
    for kind in HEAD_TYPES:
        layer, head = WIRED[kind.name]
        rule, token = (
            found["similarity"][kind.site][name][layer][head] for name in ("abstract", "token")
        )
        decoded = found["decoding"][kind.site][str(SHOTS)][layer][head]
        if kind.name == "retrieval":
            rule, token = token, rule
            assert decoded == pytest.approx(0.5, abs=0.1)
        else:
            assert decoded >= 0.99
        assert rule >= 0.99
        assert token <= 0.05
    expected = {
        "abstraction": "third item to the item it repeats",
        "induction": "last token to third items",
        "retrieval": "last token to the answer",
    }
    for name, target in expected.items():
        layer, head = WIRED[name]
        assert found["attention"][target][layer][head] >= 0.99


def test_silenced_heads_come_back(drawer: Drawer) -> None:
    prompts = drawer.prompts("ABA", Format(SHOTS), 2, 11)
    ids = [drawer.ids(prompt) for prompt in prompts]
    before = drawer.model.next_token_logits(ids)
    with silenced_heads(drawer.model, [WIRED["retrieval"]], [len(ids[0]) - 1]):
        assert not torch.equal(drawer.model.next_token_logits(ids), before)
    assert torch.equal(drawer.model.next_token_logits(ids), before)
