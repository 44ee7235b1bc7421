"""The word tables on 100 captions that were written, with their answers, before the rules were read.

On the first run 58 of the 66 captions with a gender had it, and 8 of those given one should have none
(precision .879, recall .879). What was wrong was of two kinds: words that speak of no person (animals,
rooms, idioms; `vlbias.data.referents`), and words that were not listed. What is left is by choice: "cowboy",
"prince" and the like mostly name things, and "baseman" is said of anyone.

`python tests/test_captions_blind.py` prints precision, recall, and what is otherwise than the answers.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vlbias.data.gender_labels import GenderRule, perceived_gender
from vlbias.data.lexicon import neutralise

RULE = GenderRule(min_captions=1, held_out=0)
LINES = (Path(__file__).parent / "captions_blind.tsv").read_text(encoding="utf-8").splitlines()[1:]
ROWS = [tuple(line.split("\t")) for line in LINES]
"""Caption, gender of the persons it tells of, and its gendered words as an annotator reads them."""


def compared() -> tuple[float, float, float, list[str]]:
    """Precision, recall, share of gendered words that were replaced, and a line for every difference."""
    right = told = gendered = 0
    words = left = 0
    wrong = []
    for caption, gender, listed in ROWS:
        found, neutral = perceived_gender([caption], RULE), neutralise(caption)
        told += found != "unknown"
        gendered += gender != "unknown"
        right += found == gender != "unknown"
        still = [word for word in listed.split() if re.search(rf"\b{re.escape(word)}\b", neutral)]
        words, left = words + len(listed.split()), left + len(still)
        wrong += [f"{caption}: {found}, expected {gender}"] * (found != gender)
        wrong += [f"{caption}: {', '.join(still)} is left in {neutral!r}"] * bool(still)
    return right / told, right / gendered, 1 - left / words, wrong


def test_precision_and_recall_on_captions_written_blind() -> None:
    precision, recall, replaced, wrong = compared()
    print(f"precision {precision:.3f}, recall {recall:.3f}, words replaced {replaced:.3f}")
    assert len(ROWS) == len({row[0] for row in ROWS}) == 100
    assert precision == 1.0, wrong
    assert recall >= 0.95, wrong
    assert replaced >= 0.98, wrong


@pytest.mark.parametrize(
    ("caption", "gender", "neutral"),
    [
        ("A mother polar bear and her cubs.", "unknown", "A parent polar bear and their cubs."),
        ("A male dog walker in a park.", "masculine", "A human dog walker in a park."),
        ("The dog follows her home.", "feminine", "The dog follows them home."),
        ("A man near the women's restroom.", "masculine", "A person near the people's restroom."),
        ("A woman whose cat licks his paw.", "mixed", "A person whose cat licks their paw."),
        ("A horse carries a boy on his back.", "masculine", "A horse carries a child on their back."),
        ("A cat cleans herself.", "unknown", "A cat cleans themselves."),
    ],
)  # fmt: skip
def test_words_of_no_person_are_replaced_and_are_no_evidence(
    caption: str, gender: str, neutral: str
) -> None:
    assert perceived_gender([caption], RULE) == gender
    assert neutralise(caption) == neutral


if __name__ == "__main__":
    precision, recall, replaced, wrong = compared()
    print(*wrong, sep="\n")
    print(f"precision {precision:.3f}, recall {recall:.3f}, words replaced {replaced:.3f}")
