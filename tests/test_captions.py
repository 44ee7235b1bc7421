"""The word tables on captions whose gender and neutral text are known: `captions.tsv`, own-written.

`python tests/test_captions.py` prints precision, recall and what is wrong.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlbias.data.counterfactual_texts import PhotoTexts
from vlbias.data.gender_labels import RULES, Funnel, GenderRule, perceived_gender
from vlbias.data.lexicon import gender_words, neutralise, swap
from vlbias.data.photo_rows import Photo, boxed, labelled_rows
from vlbias.data.prompts import prompt_named
from vlbias.data.world import WORLDS, WorldAbsent

RULE = GenderRule(min_captions=1, held_out=0)
LINES = (Path(__file__).parent / "captions.tsv").read_text(encoding="utf-8").splitlines()[1:]
ROWS = [tuple(line.split("\t")) for line in LINES]


def compared() -> tuple[float, float, list[str]]:
    """Precision, recall, and a line for every caption with another label or neutral text."""
    right = told = gendered = 0
    wrong = []
    for caption, gender, neutral in ROWS:
        found, text = perceived_gender([caption], RULE), neutralise(caption)
        told += found != "unknown"
        gendered += gender != "unknown"
        right += found == gender != "unknown"
        if found != gender:
            wrong.append(f"{caption}: {found}, expected {gender}")
        if text != neutral:
            wrong.append(f"{caption}: {text!r}, expected {neutral!r}")
    return right / told, right / gendered, wrong


def test_the_set_is_large_and_no_caption_repeats() -> None:
    assert len(ROWS) >= 400
    assert len({row[0] for row in ROWS}) == len(ROWS)
    assert {row[1] for row in ROWS} == {"masculine", "feminine", "mixed", "unknown"}


def test_precision_and_recall() -> None:
    precision, recall, wrong = compared()
    print(f"precision {precision:.3f}, recall {recall:.3f} of {len(ROWS)} captions")
    assert precision == 1.0, wrong
    assert recall >= 0.95, wrong
    assert not wrong


def photo(number: int, *captions: str) -> Photo:
    person = boxed("person", (0, 0, 9, 9), photo="p", size=(9, 9))
    return Photo(str(number), f"{number}.jpg", 9, 9, ("-", *captions), [person], "test")


def test_captions_in_other_languages_are_counted_not_read() -> None:
    spanish, swedish = (
        "Los niños son felices en la playa.",
        "Han sitter men hunden står på en stol.",
    )
    photos = [photo(1, "A woman.", "She sits.", spanish), photo(2, spanish, swedish)]
    rows, funnel = labelled_rows(photos, RULES["strict"])
    assert [row["group"] for row in rows] == ["feminine", "unknown"]
    assert funnel.captions == {"not English": 3}
    assert funnel.dropped == {"no caption in English": 1}
    assert Funnel(**funnel.to_json()) == funnel
    assert "not English" in str(funnel)


def test_published_lists_read_every_caption_as_published() -> None:
    photos = [photo(1, "Hier kann man ein Pferd auf der Wiese sehen.")]
    rows, funnel = labelled_rows(photos, RULES["zhao2017"])
    assert rows[0]["group"] == "masculine"
    assert not funnel.captions
    assert "captions" not in funnel.to_json()


def test_a_caption_in_another_language_has_no_world_with_other_words() -> None:
    row = {"group": "masculine", "captions": ["Un homme et son chien sur la plage."]}
    texts = PhotoTexts(row, prompt_named("caption"), ["dog"], {})
    assert texts.text(WORLDS["null"]) == row["captions"][0]
    with pytest.raises(WorldAbsent, match="not English"):
        texts.text(WORLDS["replace-gender"])


@given(st.text(alphabet="mwoaenfls'’()/- \u00ad\u200bhHeirS.ſ"))
def test_any_text_is_read_and_neutral_text_has_no_gender_word(text: str) -> None:
    neutralise(swap(text))
    assert sum(map(len, gender_words(neutralise(text)))) <= sum(map(len, gender_words(text)))


if __name__ == "__main__":
    precision, recall, wrong = compared()
    print(*wrong, f"precision {precision:.3f}, recall {recall:.3f} of {len(ROWS)}", sep="\n")
