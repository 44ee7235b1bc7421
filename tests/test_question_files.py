"""Facts in the layouts of LUME and TOFU, and utility from any file of prompts and answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vlbias.data.fact_files import read_facts
from vlbias.data.question_files import subject_in
from vlbias.errors import BadData
from vlbias.studies.knowledge.utility import utility_of

LUME = [
    {"id": "a1sc1", "input": "Ada Berg lives at", "output": " 4 Elm St.", "task": "Task2", "split": "forget"},
    {"id": "b1qa0", "input": "What is Jo Lind's phone number?", "output": "555-0101", "task": "Task2",
     "split": "retain_train"},
]  # fmt: skip
TOFU = {"question": "Where was Hsiao Yun-Hwa born?", "answer": "In Taipei."}


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_lume_has_inputs_outputs_and_splits(tmp_path: Path) -> None:
    found = read_facts(path=lines(tmp_path / "data.jsonl", LUME))
    assert [(f.id, f.subject, f.prompt, f.answer, f.group) for f in found.facts] == [
        ("a1sc1", "Ada Berg", "Ada Berg lives at", "4 Elm St.", "forget"),
        ("b1qa0", "Jo Lind", "What is Jo Lind's phone number?", "555-0101", "retain"),
    ]
    assert set(found.files) == {"facts.path"}


def test_tofu_keeps_its_sets_in_files_whose_names_are_the_groups(tmp_path: Path) -> None:
    lines(tmp_path / "forget10.json", [TOFU])
    (tmp_path / "retain90.json").write_text(json.dumps([{**TOFU, "answer": "In Oslo."}, TOFU]))
    found = read_facts(path=tmp_path)
    assert [(fact.group, fact.id) for fact in found.facts] == [
        ("forget", "forget10/1"),
        ("retain", "retain90/1"),
        ("retain", "retain90/2"),
    ]
    assert found.facts[0].prompt == "Question: Where was Hsiao Yun-Hwa born?\nAnswer:"
    assert found.facts[0].subject == "Hsiao Yun-Hwa"
    assert set(found.files) == {"facts.path/forget10.json", "facts.path/retain90.json"}
    alone = read_facts(path=tmp_path / "forget10.json")
    assert [fact.group for fact in alone.facts] == ["forget"]


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("What is Fredericka Amber's birth date?", "Fredericka Amber"),
        ("Is Jean van der Berg a writer in Oslo?", "Jean van der Berg"),
        ("what is it?", "what is it?"),
        ("Who wrote it?", "Who wrote it?"),
        ("Marit plays chess with Ola Nordmann.", "Ola Nordmann"),
    ],
)
def test_the_subject_is_the_longest_run_of_capitalised_words(text: str, subject: str) -> None:
    assert subject_in(text) == subject
    assert subject in text


def test_rows_without_question_or_answer_are_named(tmp_path: Path) -> None:
    path = lines(tmp_path / "forget.jsonl", [TOFU, {**TOFU, "answer": " "}])
    with pytest.raises(BadData, match=r"forget.jsonl line 2: answer is ' '"):
        read_facts(path=path)
    (tmp_path / "none").mkdir()
    with pytest.raises(BadData, match="holds no file of facts"):
        read_facts(path=tmp_path / "none")


def test_utility_is_read_from_any_file_of_prompts_and_answers(tmp_path: Path) -> None:
    wanted = (("Two and two are", "four"),)
    row = {"prompt": "Two and two are", "answer": "four"}
    (tmp_path / "u.json").write_text(json.dumps([row]))
    (tmp_path / "u.csv").write_text("prompt,answer\nTwo and two are,four\n")
    (tmp_path / "q.csv").write_text("question,answer,x\nTwo and two are,four,1\n")
    lines(tmp_path / "u.jsonl", [row])
    lines(tmp_path / "l.jsonl", [{"input": "Two and two are", "output": "four"}])
    for name in ("u.json", "u.csv", "q.csv", "u.jsonl", "l.jsonl"):
        assert utility_of(tmp_path / name, "") == wanted
    lines(tmp_path / "bad.jsonl", [row, {"prompt": "Two"}])
    with pytest.raises(BadData, match=r"bad\.jsonl line 2: expected texts 'prompt' and 'answer'"):
        utility_of(tmp_path / "bad.jsonl", "")
