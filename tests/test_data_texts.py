from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vlbias.causal.example import Example
from vlbias.data import read_text_dataset
from vlbias.data.coreference import read_winobias, read_winogender
from vlbias.data.names import read_names
from vlbias.data.professions import TEMPLATES, read_professions
from vlbias.data.pronouns import FORMS, SENTENCES
from vlbias.data.texts import Texts, read_texts
from vlbias.errors import BadData, BadStudy, UnknownName

NAMES = ("professions", "winobias", "winogender")


def pair(example: Example) -> tuple[str, str, str, str]:
    """Null text, other text, female and male continuation."""
    null, other = (example.worlds[world]["text"] for world in ("null", "swap-gender"))
    return null.text, other.text, null.candidates[1], null.candidates[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_own_written_set_needs_no_path(name: str) -> None:
    texts = read_text_dataset(name, None, {})
    assert len(texts.examples) > 4
    assert texts.classes == ("anti", "stereo")
    again = read_text_dataset(name, None, {})
    assert again.content_hash == texts.content_hash


def test_professions_in_their_worlds() -> None:
    texts = read_professions(None, templates=["The {} said that"])
    by_word = {example.attributes["word"]: example for example in texts.examples}
    nurse, doctor = by_word["nurse"], by_word["doctor"]
    assert nurse.worlds["null"]["text"].text == "The nurse said that"
    assert nurse.worlds["set-gender"]["text"].text == "The man said that"
    assert nurse.worlds["null"]["text"].candidates == ("he", "she")
    assert doctor.worlds["set-gender"]["text"].text == "The woman said that"
    assert doctor.worlds["null"]["text"].candidates == ("she", "he")
    assert nurse.worlds["null"]["text"].spans == (("word", 4, 9),)
    assert "aunt" not in by_word
    assert by_word["singer"].attributes["group"] == "neutral"


def test_they_can_be_asked_for() -> None:
    texts = read_professions(None, they=True)
    assert texts.classes == ("anti", "stereo", "they")
    assert texts.examples[0].worlds["null"]["text"].candidates[2] == "they"


def test_definitional_words_can_be_kept() -> None:
    kept = read_professions(None, definitional=True, templates=TEMPLATES[:1])
    assert len(kept.examples) == 26


def test_published_files_give_the_published_counts(lm_data: Path) -> None:
    """A4 of the design: counts of Vig et al.'s code."""
    wino = read_winobias(lm_data).meta["funnel"]
    assert wino["dev"] == {"pairs": 198, "skipped": 38, "examples": 160}
    assert wino["test"] == {"pairs": 198, "skipped": 68, "examples": 130}
    assert read_winogender(lm_data).meta["funnel"]["examples"] == 44
    funnel = read_professions(lm_data).meta["funnel"]
    assert (funnel["rows"], funnel["not definitional"], funnel["templates"]) == (320, 300, 17)
    assert (funnel["feminine"], funnel["neutral"], funnel["masculine"]) == (65, 21, 214)


def test_statistics_disagree_as_published(lm_data: Path) -> None:
    """A5: 22 and 9 female-typed occupations, 13 of 44 differ."""
    female = {
        name: [e.attributes["female"] for e in read_winogender(lm_data, statistic=name).examples]
        for name in ("bls", "bergsma")
    }
    assert sum(a != b for a, b in zip(*female.values(), strict=True)) == 13
    counts = [
        read_winogender(lm_data, statistic=name).meta["funnel"]["female-typed"]
        for name in ("bls", "bergsma")
    ]
    assert counts == [22, 9]


def test_examples_are_those_of_the_published_run(lm_data: Path) -> None:
    """Published texts were joined from tokens, so that rare words have spaces inside."""
    path = lm_data / "published" / "attention_intervention_gpt2_unfiltered_dev.json"
    keys = ("base_string1", "base_string2", "candidate1", "candidate2")
    theirs = {
        tuple(row[key].replace(" ", "") for key in keys)
        for row in json.loads(path.read_text())["results"]
    }
    dev = [e for e in read_winobias(lm_data).examples if e.attributes["split"] == "dev"]
    ours = {tuple(text.replace(" ", "") for text in pair(example)) for example in dev}
    assert ours == theirs
    assert len(ours) == 160


def test_a_pair_is_split_at_its_pronoun(tmp_path: Path) -> None:
    for name, lines in {
        "pro_stereotyped_type1.txt.dev": [
            "1 [The guard] called the maid because [he] was late.",
            "2 The guard called [the maid] because [she] had left.",
            "3 [The guard] called the maid because [he] was late.",
            "4 The guard called [the maid] while [she] had left.",
            "5 [The guard] called the maid and [the] dog ran to [him].",
            "6 The guard called [the maid] because [she] had left.",
        ],
        "pro_stereotyped_type1.txt.test": [
            "1 The guard hid [the maid]'s hat, it was [her] fault.",
            "2 [The guard] hid the maid's hat, it was [his] turn.",
        ],
        "male_occupations.txt": ["guard"],
        "female_occupations.txt": ["maid"],
    }.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    dev, test = read_winobias(tmp_path).examples
    assert pair(dev) == (
        "The guard called the maid because she",
        "The guard called the maid because he",
        "had left.",
        "was late.",
    )
    assert pair(test)[:2] == (
        "The guard hid the maid's hat, it was her",
        "The guard hid the maid's hat, it was his",
    )


OWN = {"id": "a", "worlds": {"null": "Anna said that", "other": "Emre said that"}}


def own(tmp_path: Path, *rows: dict[str, Any]) -> Texts:
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return read_texts(path, classes=("he", "she", "they"))


def test_own_texts_have_any_worlds_and_groups(tmp_path: Path) -> None:
    row = {
        **OWN,
        "candidates": ["he", "she", "they"],
        "span": {"null": "Anna", "other": "Emre"},
        "group": "names",
        "attributes": {"origin": "tr"},
    }
    (example,) = own(tmp_path, row).examples
    assert example.worlds["other"]["text"].spans == (("word", 0, 4),)
    assert example.attributes == {"origin": "tr", "group": "names", "split": "test"}


@pytest.mark.parametrize(
    "change",
    [
        {"candidates": ["he", "she"]},
        {"candidates": ["he", "she", "they"], "span": {"null": "Bob"}},
        {"candidates": ["he", "she", "they"], "sapn": {}},
        {},
    ],
)
def test_bad_lines_are_named(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(BadData, match=r"line 1|a has 2 candidates"):
        own(tmp_path, {**OWN, **change})


def test_groups_splits_and_limit_are_chosen() -> None:
    texts = read_professions(None)
    some = texts.chosen(["test"], ["feminine"], limit=5, seed=0)
    assert len(some) == 5
    assert {example.attributes["group"] for example in some} == {"feminine"}
    assert texts.chosen(["test"], ["feminine"], limit=5, seed=0) == some
    with pytest.raises(BadStudy, match="groups"):
        texts.chosen(["dev"], ["feminine"], limit=None, seed=0)
    with pytest.raises(BadStudy, match=r"'femnine'.*groups that texts have"):
        texts.chosen(["test"], ["masculine", "femnine"], limit=None, seed=0)


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="statistic"):
        read_text_dataset("winogender", None, {"statistics": "bls"})
    with pytest.raises(BadData, match="no column"):
        read_text_dataset("winogender", None, {"statistic": "guess"})
    with pytest.raises(BadData, match="not found"):
        read_text_dataset("professions", tmp_path, {})
    (tmp_path / "professions.json").write_text('[["nurse", 0]]')
    with pytest.raises(BadData, match="word, definitional"):
        read_text_dataset("professions", tmp_path, {})
    with pytest.raises(BadData, match="place"):
        read_professions(None, templates=["The nurse said that"])


def test_whole_sentences_ask_for_every_form() -> None:
    texts = read_professions(None, templates="sentences", they=True)
    nurse = [e for e in texts.examples if e.attributes["word"] == "nurse"]
    assert len(nurse) == len(SENTENCES)
    asked = {e.worlds["null"]["text"].candidates for e in nurse}
    assert asked == {(he, she, they) for he, she, they in FORMS.values()}
    for example in nurse:
        text = example.worlds["set-gender"]["text"]
        (_, start, end) = text.spans[0]
        assert text.text[start:end] == "man"
        assert not text.text.endswith(("that", "because")) or "agreed" in text.text


def test_forms_can_be_asked_for_in_any_template() -> None:
    texts = read_professions(None, templates=["The {} lost"], form="possessive")
    assert {e.worlds["null"]["text"].candidates for e in texts.examples} == {
        ("his", "her"),
        ("her", "his"),
    }
    with pytest.raises(BadData, match="form"):
        read_professions(None, templates=["The {} lost"], form="plural")  # type: ignore[arg-type]
    with pytest.raises(BadData, match="sentences"):
        read_professions(None, templates="sentence")  # type: ignore[arg-type]


def test_names_have_pairs_and_any_number_of_groups() -> None:
    texts = read_names(None, templates=["{} said that"], by="origin")
    assert texts.classes == ("anti", "stereo", "they")
    by_name = {e.attributes["word"]: e for e in texts.examples}
    mary, alex = by_name["Mary"], by_name["Alex"]
    assert mary.worlds["swap-gender"]["text"].text == "John said that"
    assert mary.worlds["neutral"]["text"].text == "Alex said that"
    assert mary.worlds["null"]["text"].candidates == ("he", "she", "they")
    assert "swap-gender" not in alex.worlds
    assert alex.absent == {"swap-gender": "a name without gender"}
    assert len({e.attributes["group"] for e in texts.examples}) == 4
    others = texts.wordings[mary.id]["swap-gender"]
    assert [text.text.split()[0] for text in others] == ["John", "James", "Henry", "David"]


@pytest.mark.parametrize("lines", [["name\tgender"], ["name\tgender\torigin", "Mary\tf\tenglish"]])
def test_bad_names_are_named(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "names.tsv").write_text("\n".join(lines))
    with pytest.raises(BadData, match=r"columns|line 2"):
        read_names(tmp_path)


@pytest.mark.parametrize("name", ["winobias", "winogender"])
def test_the_singular_they_is_a_third_world(name: str) -> None:
    texts = read_text_dataset(name, None, {"they": True})
    for example in texts.examples:
        null, they = (example.worlds[w]["text"].text.split() for w in ("null", "they"))
        assert null[:-1] == they[:-1]
        assert (null[-1], they[-1]) in {("she", "they"), ("her", "their")}
    assert "they" not in read_text_dataset(name, None, {}).worlds


def test_other_attributes_come_with_the_package() -> None:
    texts = read_texts(None)
    groups = {e.attributes["group"] for e in texts.examples}
    assert groups == {"age", "income", "dwelling", "training"}
    assert all(
        len(c.split()) > 1 for e in texts.examples for c in e.worlds["null"]["text"].candidates
    )
    assert all(e.worlds["other"]["text"].spans[0][0] == "word" for e in texts.examples)


def test_own_wordings_are_read(tmp_path: Path) -> None:
    row = {**OWN, "candidates": ["he", "she", "they"], "span": {"null": "Anna", "other": "Emre"}}
    row["wordings"] = {"other": [["Jan said that", "Jan"]]}
    texts = own(tmp_path, row)
    (wording,) = texts.wordings["a"]["other"]
    assert (wording.text, wording.spans) == ("Jan said that", (("word", 0, 3),))
