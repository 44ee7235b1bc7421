"""The metrics of SemEval-2025 Task 4: ROUGE-L, exact answers, their aggregate, and what a model writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from taught_models import taught_facts

from vlbias.data.facts import Fact
from vlbias.errors import BadModel, MissingExtra
from vlbias.studies.unlearning import task_metrics
from vlbias.studies.unlearning.task_metrics import (
    TaskValue,
    aggregate_of,
    is_answer,
    rouge_recall,
    task_values,
)


def longest_common(one: list[str], other: list[str]) -> int:
    """Length of the longest common subsequence, by its recursion."""
    if not one or not other:
        return 0
    if one[-1] == other[-1]:
        return longest_common(one[:-1], other[:-1]) + 1
    return max(longest_common(one[:-1], other), longest_common(one, other[:-1]))


@pytest.mark.parametrize(
    ("expected", "said", "recall"),
    [
        # the examples of Lin (2004), section 3: recall of "police killed the gunman"
        ("police killed the gunman", "police kill the gunman", 1.0),  # of one stem
        ("police killed the gunman", "the gunman kill police", 2 / 4),
        ("police killed the gunman", "the gunman police killed", 2 / 4),
        # the README of rouge-score
        ("The quick brown fox jumps over the lazy dog", "The quick brown dog jumps on the log.", 5 / 9),
        ("one two", "", 0.0),
    ],
)  # fmt: skip
def test_recall_of_rouge_has_the_published_values(expected: str, said: str, recall: float) -> None:
    assert rouge_recall(expected, said) == pytest.approx(recall)
    stems = {"kill": "killed", "log.": "log"}
    words = [stems.get(word, word) for word in said.lower().split()]
    whole = expected.lower().split()
    assert rouge_recall(expected, said) == pytest.approx(longest_common(whole, words) / len(whole))


def test_exact_answers_are_those_but_for_capitals_and_spaces() -> None:
    assert is_answer("Oslo", " oslo\n")
    assert not is_answer("Oslo", "Oslo, Norway")


def test_the_aggregate_is_the_harmonic_mean_of_every_part() -> None:
    values = [
        TaskValue("forget", "Task1", "regurgitation", 0.2, 3),
        TaskValue("forget", "Task1", "knowledge", 0.0, 3),
        TaskValue("retain", "Task1", "regurgitation", 0.5, 3),
        TaskValue("retain", "Task1", "knowledge", 1.0, 3),
    ]
    assert aggregate_of(values) == pytest.approx(4 / (1 / 0.8 + 1 + 2 + 1))
    assert aggregate_of([*values, values[2]._replace(value=0.0)]) == 0.0


def lume(fact: Fact, number: int) -> Fact:
    return replace(fact, task="Task2", passage=bool(number % 2))


def test_what_a_model_writes_is_what_it_says_next(language: Callable[[str], Any]) -> None:
    model = language("gpt2")
    facts = [lume(fact, number) for number, fact in enumerate(taught_facts()[:4])]
    ids = [model.tokens(fact.prompt) for fact in facts]
    by_hand = []
    for row in ids:
        begun = list(row)
        for _ in range(3):
            begun.append(int(model.next_token_logits([begun]).argmax()))
        by_hand.append(model.text_of(begun[len(row) :]))
    same = [row for row in ids if len(row) == len(ids[0])]
    written = model.written(same, 3)
    assert [text.split() for text in written] == [by_hand[ids.index(row)].split() for row in same]
    said = [replace(fact, answer=text.strip()) for fact, text in zip(facts, by_hand, strict=True)]
    found = task_values(model, said[:2], said[2:], 3)
    assert [(one.group, one.task, one.metric, one.facts) for one in found] == [
        (group, "Task2", metric, 1)
        for group in ("forget", "retain")
        for metric in ("knowledge", "regurgitation")
    ]
    for one, fact in zip(found, (said[0], said[1], said[2], said[3]), strict=True):
        # a net that was trained on nothing may write marks alone, of which ROUGE has no word
        same_text = rouge_recall(fact.answer, fact.answer) if fact.passage else 1.0
        assert one.value == same_text
    assert task_values(model, taught_facts()[:1], taught_facts()[1:2], 3) == []
    with pytest.raises(BadModel, match="nothing can be written"):
        model.written([[1] * model.max_tokens], 3)
    assert torch.is_inference_mode_enabled() is False


def test_passages_without_the_library_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = [lume(fact, 1) for fact in taught_facts()]
    task_metrics.refuse_without_rouge(facts)
    monkeypatch.setattr(task_metrics, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"vlbias\[unlearning\]"):
        task_metrics.refuse_without_rouge(facts)
    task_metrics.refuse_without_rouge(taught_facts())
