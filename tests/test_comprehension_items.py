"""Items of comprehension: made by seed, read from files, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlbias.analysis.edit_effects import edit_sizes
from vlbias.errors import BadData, BadStudy
from vlbias.studies.comprehension.generated_items import GENERATORS, generated_items
from vlbias.studies.comprehension.items import Item, refuse_items, word_distance
from vlbias.studies.comprehension.own_items import read_items
from vlbias.studies.comprehension.parsing import parsed, refuse_parser
from vlbias.studies.comprehension.study import Study


@pytest.mark.parametrize("edit", ["replace", "mask"])
@pytest.mark.parametrize("task", sorted(GENERATORS))
def test_generated_items(task: str, edit: str) -> None:
    """C7: a seed gives the same items; edits change what they should and are of equal size in both arms."""
    items = generated_items(task, 60, 3, edit=edit, variants=2)
    assert items == generated_items(task, 60, 3, edit=edit, variants=2)
    assert items != generated_items(task, 60, 4, edit=edit, variants=2)
    refuse_items(items, scored=True)
    sizes = {
        arm: np.array([[item.size(text) for text in getattr(item, arm)] for item in items])
        for arm in ("deep", "surface")
    }
    assert sizes["deep"].min() >= 1
    assert edit_sizes(sizes["deep"].mean(1), sizes["surface"].mean(1)).matched
    for item in items:
        assert len(set(item.deep)) == len(set(item.surface)) == 2
        assert solved(task, item.original) == item.answer
        if edit == "replace":
            assert all(solved(task, text) == item.answer for text in item.surface)
            for text in item.deep:
                assert solved(task, text) != item.answer
                assert solved(task, text) in item.choices


def solved(task: str, text: str) -> str:
    """What is right, found without the generator."""
    words = text.replace("?", "").replace(".", "").split()
    if task == "multiplication":
        one, other = (int(word) for word in words if word.isdigit())
        return str(one * other)
    if task == "unscrambling":
        letters = sorted(word for word in words if len(word) == 1 and word != "a")
        letters += ["a"] * (words.count("a") - 1)
        from vlbias.studies.comprehension.generated_items import _WORDS

        return next(word for word in _WORDS if sorted(word) == sorted(letters))
    told, asked = words[5], words[11]
    return "yes" if told == asked else "no"


def item(**changes: Any) -> Item:
    fields = {
        "id": "one", "original": "Is snow white?", "deep": ("Is snow black?",),
        "surface": ("Is snow, white?",), "answer": "yes", "choices": ("yes", "no"),
    }  # fmt: skip
    return Item(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"deep": ("Is snow white?",)}, "deep edit equals the original"),
        ({"surface": ()}, "no surface edit"),
        ({"answer": "maybe"}, "not among the choices"),
        ({"choices": ("yes", "yes, sir"), "answer": "yes"}, "is the beginning of"),
        ({"choices": ("yes",)}, "two or more that differ"),
    ],
)
def test_wrong_items_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadData, match=message) as caught:
        refuse_items([item(**changes)], scored=True)
    assert "'one'" in str(caught.value)


def test_two_items_of_one_id_are_refused() -> None:
    with pytest.raises(BadData, match="stands twice"):
        refuse_items([item(), item()], scored=True)
    with pytest.raises(BadData, match="no item"):
        refuse_items([], scored=True)


def test_own_items(tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    lines = [
        {"id": "a", "original": "Is snow white?", "deep": ["Is snow black?"], "surface": "Is snow, white?",
         "answer": "yes", "choices": ["yes", "no"], "cluster": "snow"},
        {"original": "2 + 2 =", "deep": ["2 + 3 ="], "surface": ["2 + 2  is"], "answer": "4"},
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, lines)))
    first, second = read_items(path)
    assert first == item(id="a", cluster="snow")
    assert (second.id, second.choices) == ("line-2", ())
    for broken, message in (
        ({"original": "x"}, "'answer' is None"),
        ({"original": "x", "answer": "y", "deep": [1]}, "expected a list of texts"),
        ({"original": "x", "answer": "y", "deeep": ["z"]}, "unknown key 'deeep'"),
    ):
        path.write_text(json.dumps(broken))
        with pytest.raises(BadData, match=message):
            read_items(path)


@pytest.mark.parametrize(
    ("text", "rule", "answer"),
    [
        ("Yes, it is.", "choice", "yes"),
        ("yes or no", "choice", None),
        ("I know nothing", "choice", None),
        ("it is 3,901.", "number", "3901"),
        ("none", "number", None),
        (" apple.", "first-word", "apple"),
        ("...", "first-word", None),
        ("answer: blue", r"regex:answer: (\w+)", "blue"),
        ("blue", r"regex:answer: (\w+)", None),
    ],
)
def test_parsers(text: str, rule: str, answer: str | None) -> None:
    refuse_parser(rule)
    assert parsed(text, rule, ("yes", "no")) == answer


@pytest.mark.parametrize("rule", ["words", "regex:(", "regex:abc"])
def test_parsers_that_are_none(rule: str) -> None:
    with pytest.raises(BadStudy, match="parser"):
        refuse_parser(rule)


def test_word_distance() -> None:
    assert word_distance("a b c", "a b c") == 0
    assert word_distance("a b c", "a x c") == 1
    assert word_distance("a b c", "b c") == 1
    assert word_distance("a b", "c d e") == 3


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"task": "own"}, "path"),
        ({"path": "items.jsonl"}, "path"),
        ({"endpoint": {"base_url": "http://localhost:1/v1"}}, "answers"),
        (
            {"endpoint": {"base_url": "http://x/v1"}, "answers": "written", "mediators": ["lm/mlp.0"]},
            "mediators",
        ),
        ({"parser": "guess"}, "parser"),
    ],
)  # fmt: skip
def test_studies_that_cannot_be(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(BadStudy) as caught:
        Study.parse({"name": "x", "model": "gpt2", "task": "entailment", **changes})
    assert caught.value.field == field
