"""Own texts, word lists and study files that are nearly right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlbias.causal.cloze import Cloze
from vlbias.data import read_text_dataset
from vlbias.data.texts import read_texts
from vlbias.errors import BadData, BadStudy
from vlbias.studies.bias.study import Study
from vlbias.studies.language.study import Study as TextStudy

LINE: dict[str, Any] = {
    "id": "a",
    "worlds": {"null": "The nurse said that", "cf": "The man said that"},
    "candidates": ["he", "she"],
}


def read(folder: Path, *rows: dict[str, Any], encoding: str = "utf-8") -> Any:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "t.jsonl").write_text("\n".join(lines) + "\n", encoding=encoding)
    return read_texts(folder / "t.jsonl")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"candidates": [" he", " she"]}, "no space at their ends"),
        ({"candidates": ["he ", "she"]}, "no space at their ends"),
        ({"candidates": "he"}, r"line 1: 'candidates'"),
        ({"candidates": [1, 2]}, r"'candidates', item 1"),
        ({"worlds": {"null": ["The nurse", "said that"]}}, r"'worlds', 'null'"),
        ({"worlds": {"null": None}}, r"'worlds', 'null'"),
        ({"worlds": {}}, r"'worlds'"),
        ({"worlds": ["The nurse"]}, r"'worlds'"),
        ({"id": None}, r"'id'"),
        ({"id": float("nan")}, r"'id'"),
        ({"group": float("nan")}, r"'group'"),
        ({"group": "nan"}, "group 'nan'"),
        ({"after": 5}, r"'after'"),
        ({"wordings": {"cf": [["a"]]}}, r"'wordings', 'cf', item 1"),
        ({"span": {"null": 5}}, r"'span', 'null'"),
    ],
)
def test_lines_of_texts_are_checked(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    with pytest.raises(BadData, match=named):
        read(tmp_path, {**LINE, **change})


def test_zero_is_an_id_and_a_cluster_of_texts(tmp_path: Path) -> None:
    rows = [{**LINE, "id": i, "cluster": 0, "group": 0} for i in range(2)]
    examples = read(tmp_path, *rows).examples
    assert [e.id for e in examples] == ["0", "1"]
    assert {e.cluster for e in examples} == {"0"}
    assert {e.attributes["group"] for e in examples} == {"0"}


def test_lines_end_at_newlines_and_begin_with_no_mark(tmp_path: Path) -> None:
    text = {**LINE, "worlds": {"null": "a\u2028nurse\x85said", "cf": "a man said"}}
    plain = read(tmp_path, text)
    assert plain.examples[0].worlds["null"]["text"].text == "a\u2028nurse\x85said"
    assert read(tmp_path, text, encoding="utf-8-sig").content_hash == plain.content_hash


def test_groups_spelt_in_two_ways_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"'F' .*'f'"):
        read(tmp_path, {**LINE, "group": "F"}, {**LINE, "id": "b", "group": "f"})


def test_a_text_is_no_tuple_of_candidates() -> None:
    with pytest.raises(BadData, match="a tuple of texts"):
        Cloze("The nurse said that", "he")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('[["nurse", 0, NaN]]', r"item 1, item 3: got nan"),
        ('[["nurse", 0, "1"]]', r"item 1, item 3"),
        ('[["nurse", 0, 1e999]]', r"item 1, item 3"),
        ("[5]", "word, definitional"),
        ('{"nurse": 1}', "professions.json"),
    ],
)
def test_scores_of_professions_are_numbers(tmp_path: Path, content: str, named: str) -> None:
    (tmp_path / "professions.json").write_text(content)
    with pytest.raises(BadData, match=named):
        read_text_dataset("professions", tmp_path, {})


def test_word_lists_may_begin_with_a_mark(tmp_path: Path) -> None:
    (tmp_path / "professions.json").write_text('[["nurse", 0, -1]]', encoding="utf-8-sig")
    texts = read_text_dataset("professions", tmp_path, {})
    assert {e.attributes["group"] for e in texts.examples} == {"feminine"}
    table = "name\tgender\torigin\nAnna\tfeminine\tx\nOtto\tmasculine\tx\n"
    (tmp_path / "names.tsv").write_text(table, encoding="utf-8-sig")
    assert len(read_text_dataset("names", tmp_path, {}).examples) > 0


@pytest.mark.parametrize(
    ("kind", "token"), [("bert", "[MASK]"), ("roberta", "<s>"), ("llama", "<s>")]
)
def test_a_written_special_token_is_refused(
    language_folder: Callable[[str], Path], kind: str, token: str
) -> None:
    from vlbias.models import load_model

    model = load_model(str(language_folder(kind)))
    with pytest.raises(BadData, match="a token of its own"):
        model.split({"text": Cloze(f"The {token} nurse said", ("he", "she"))})
    model.split({"text": Cloze("[", ("he", "she"))})


BIAS: dict[str, Any] = {"name": "a", "model": "toy", "dataset": {"name": "own", "path": "x"}}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"objects": ["cup", "cup"]}, "objects"),
        ({"outcomes": ["presence", "presence"]}, "outcomes"),
        ({"contrasts": ["null->both", "null->both"]}, "contrasts"),
        ({"mediators": ["image_encoder", "image_encoder"]}, "mediators"),
        ({"dataset": {"name": "own", "groups": ["f", "m", "f"]}}, "dataset.groups"),
        ({"dataset": {"name": "own", "splits": ["dev", "dev"]}}, "dataset.splits"),
        ({"operating_point": {"report": ["dev", "dev"]}}, "operating_point.report"),
        ({"min_group": True}, "min_group"),
        ({"min_group": "5"}, "min_group"),
        ({"seed": True}, "seed"),
        ({"operating_point": {"value": True}}, "operating_point.value"),
        ({"dataset": {"name": "own", "limit": True}}, "dataset.limit"),
    ],
)
def test_studies_that_repeat_or_take_truth_for_a_number(change: dict[str, Any], field: str) -> None:
    with pytest.raises(BadStudy) as caught:
        Study.parse({**BIAS, **change})
    assert caught.value.field == field


def test_studies_of_texts_repeat_nothing_either() -> None:
    content = {"name": "a", "model": "x", "contrasts": ["null->cf"], "dataset": {"name": "names"}}
    TextStudy.parse(content)
    with pytest.raises(BadStudy, match="'feminine' repeats"):
        TextStudy.parse({**content, "dataset": {"name": "names", "groups": ["feminine"] * 2}})
