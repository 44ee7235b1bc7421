from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlbias.data.gender_labels import RULES, Funnel, GenderRule, perceived_gender
from vlbias.data.lexicon import (
    article,
    changed_words,
    gender_words,
    lexicon_hash,
    neutralise,
    placebo,
    swap,
)
from vlbias.data.pascal import CLASSES
from vlbias.data.word_lists import LAST_PLACEBOS, PAIRS, PLACEBOS, PUBLISHED, UNPAIRED
from vlbias.errors import BadStudy

MASCULINE = [pair.masculine for pair in PAIRS]
FEMININE = [pair.feminine for pair in PAIRS]
WORDS = {*MASCULINE, *FEMININE}
OTHER_WORDS = ["a", "an", "A", "with", "umbrella", "rides", "man's", "She's", "BOYS", "old."]


class TestTables:
    def test_every_word_stands_in_exactly_one_pair(self) -> None:
        assert len(MASCULINE) == len(set(MASCULINE)) == len(FEMININE) == len(set(FEMININE))
        assert not set(MASCULINE) & set(FEMININE)

    def test_every_pair_has_two_sides_and_a_neutral_word_of_one_word_each(self) -> None:
        for pair in PAIRS:
            for word in (pair.masculine, pair.feminine, pair.neutral):
                assert word.isalpha()
                assert word == word.lower()
            assert pair.neutral not in WORDS

    def test_every_published_word_is_paired_or_left_out_with_a_reason(self) -> None:
        for masculine, feminine in PUBLISHED.values():
            assert masculine <= set(MASCULINE) | set(UNPAIRED)
            assert feminine <= set(FEMININE) | set(UNPAIRED)
        assert not WORDS & set(UNPAIRED)
        assert all(UNPAIRED.values())

    def test_placebos_are_no_gender_words_nor_parts_of_class_names(self) -> None:
        coco = "person traffic light fire hydrant stop sign parking meter baseball bat glove wine"
        coco += " glass cup hot dog potted plant dining table cell phone teddy bear hair drier tie"
        taken = {*coco.split(), *CLASSES, *WORDS, *(pair.neutral for pair in PAIRS)}
        for old, new in PLACEBOS.items():
            assert old not in taken
            assert new not in taken
            assert len(new.split()) == 1
            assert new != old
            if old not in LAST_PLACEBOS:
                assert article(old) == article(new)

    def test_hash_is_of_the_tables(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = lexicon_hash()
        assert before == lexicon_hash()
        monkeypatch.setattr("vlbias.data.lexicon.PAIRS", PAIRS[1:])
        assert lexicon_hash() != before


class TestRewriting:
    @pytest.mark.parametrize(
        ("text", "neutral", "swapped"),
        [
            ("A man and two Boys.", "A person and two Children.", "A woman and two Girls."),
            ("MEN AT WORK", "PEOPLE AT WORK", "WOMEN AT WORK"),
            ("a policeman waits", "an officer waits", "a policewoman waits"),
            ("an actor's hat", "a performer's hat", "an actress's hat"),
            ("with her bag near her.", "with their bag near them.", "with his bag near him."),
            ("his dog is his", "their dog is theirs", "her dog is hers"),
            ("looking at her while he sits", "looking at them while they sits",
             "looking at him while she sits"),
            ("He's up, she’s down", "They're up, they're down", "She's up, he’s down"),
            ("male fans or a female", "human fans or a person", "female fans or a male"),
            ("a man-made hill of a snowman", "a man-made hill of a snowman",
             "a man-made hill of a snowman"),
            ("a person at a table", "a person at a table", "a person at a table"),
            ("", "", ""),
        ],
    )  # fmt: skip
    def test_words_in_sentences(self, text: str, neutral: str, swapped: str) -> None:
        assert neutralise(text) == neutral
        assert swap(text) == swapped

    def test_every_entry_is_rewritten_in_every_case(self) -> None:
        for pair in PAIRS:
            for word, sex in ((pair.masculine, 0), (pair.feminine, 1)):
                for written in (word, word.capitalize(), word.upper()):
                    text = f"we saw {written}."
                    assert gender_words(text)[sex] == (word,)
                    assert gender_words(text)[1 - sex] == ()
                    assert neutralise(text) == neutralise(text.lower()).replace(
                        pair.neutral, _as(pair.neutral, written)
                    )
                    assert gender_words(neutralise(text)) == ((), ())
                    assert gender_words(swap(text))[1 - sex] != ()

    @given(st.lists(st.sampled_from([*sorted(WORDS), *OTHER_WORDS])))
    def test_lengths_are_kept_and_no_gender_word_is_left(self, words: list[str]) -> None:
        text = " ".join(words)
        neutral, swapped = neutralise(text), swap(text)
        assert len(neutral.split()) == len(swapped.split()) == len(words)
        assert gender_words(neutral) == ((), ())
        assert neutralise(neutral) == neutral
        assert tuple(map(len, gender_words(swapped))) == tuple(map(len, gender_words(text)))[::-1]

    def test_swap_twice_gives_the_text_back(self) -> None:
        text = "A woman holds her dog beside her brother, and his friend waits near him."
        assert swap(text) != text
        assert swap(swap(text)) == text

    @given(st.integers(0, 5))
    def test_placebo_changes_as_many_words_as_asked(self, n: int) -> None:
        text = "A photo of a man on a large street"
        changed = placebo(text, n)
        assert changed is not None
        assert changed_words(text, changed) == n
        assert gender_words(changed) == gender_words(text)

    def test_placebo_takes_content_words_first_and_leaves_protected_ones(self) -> None:
        assert placebo("A photo of a man", 1) == "A picture of a man"
        assert placebo("A photo on a STREET", 2) == "A picture on a ROAD"
        assert placebo("A photo of a man", 1, frozenset({"photo"})) == "One photo of a man"

    def test_placebo_says_when_there_are_too_few_words(self) -> None:
        assert placebo("He skates.", 1) is None
        assert placebo("He skates.", 0) == "He skates."
        with pytest.raises(ValueError, match="-1"):
            placebo("He skates.", -1)


def _as(word: str, like: str) -> str:
    if like.isupper():
        return word.upper()
    return word.capitalize() if like[0].isupper() else word


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [("umbrella", "an"), ("apple", "an"), ("unicycle", "a"), ("bus", "a"), ("hour", "an")],
)  # fmt: skip
def test_article(phrase: str, expected: str) -> None:
    assert article(phrase) == expected


class TestLabels:
    strict = RULES["strict"]

    @pytest.mark.parametrize(
        ("captions", "expected"),
        [
            (["-", "a man", "his hat", "-", "-"], "masculine"),
            (["-", "a girl", "women", "-", "-"], "feminine"),
            (["-", "a man", "-", "-", "-"], "unknown"),  # one caption is too few
            (["-", "a man", "a man", "a woman", "-"], "mixed"),
            (["-", "a man and a woman", "a man", "a man", "-"], "mixed"),
            (["-", "-"], "unknown"),
            ([], "unknown"),
            (["-", "pregnant", "obama", "cowboy hat", "queen bed"], "unknown"),
        ],
    )
    def test_strict(self, captions: list[str], expected: str) -> None:
        assert perceived_gender(captions, self.strict) == expected

    def test_the_prompt_caption_is_not_read(self) -> None:
        captions = ["a woman", "a man", "a man"]
        assert perceived_gender(captions, self.strict) == "masculine"
        assert perceived_gender(captions, replace(self.strict, held_out=0)) == "mixed"

    def test_pronouns_and_children_can_be_left_out(self) -> None:
        captions = ["-", "his dog", "he sits", "a boy"]
        assert perceived_gender(captions, self.strict) == "masculine"
        assert perceived_gender(captions, replace(self.strict, pronouns=False)) == "unknown"
        assert perceived_gender(captions, replace(self.strict, adults_only=True)) == "unknown"

    def test_zhao_reads_only_man_and_woman_and_discards_both(self) -> None:
        rule = RULES["zhao2017"]
        assert perceived_gender(["a man", "a lady"], rule) == "masculine"
        assert perceived_gender(["men", "his"], rule) == "unknown"
        assert perceived_gender(["a man.", "a woman"], rule) == "mixed"

    def test_hendricks_skips_captions_with_both_and_keeps_its_asymmetry(self) -> None:
        rule = RULES["hendricks2018"]
        assert perceived_gender(["a man and a woman", "a man"], rule) == "masculine"
        assert perceived_gender(["a man and a woman"], rule) == "unknown"
        assert perceived_gender(["she waits"], rule) == "feminine"
        assert perceived_gender(["he waits"], rule) == "unknown"  # "he" is not in its list

    def test_person_thresholds(self) -> None:
        assert GenderRule(min_person_area=50).person_problem([40.0], False)
        assert GenderRule(min_person_area=50).person_problem([60.0, 40.0], False) is None
        assert (
            GenderRule(single_person=True, min_person_area=50).person_problem([60, 40], False)
            is None
        )
        assert GenderRule(single_person=True).person_problem([60.0, 40.0], False)
        assert GenderRule(single_person=True).person_problem([60.0], True)
        assert GenderRule(dominance=4).person_problem([60.0, 20.0], False)
        assert GenderRule(dominance=4).person_problem([60.0, 15.0], False) is None

    @pytest.mark.parametrize(
        "wrong",
        [{"words": "all"}, {"min_captions": 0}, {"held_out": -1}, {"min_person_area": 0.0},
         {"caption_with_both": "keep"}, {"dominance": float("nan")}],
    )  # fmt: skip
    def test_a_rule_that_makes_no_sense_is_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(BadStudy, match=next(iter(wrong))):
            GenderRule(**wrong)  # type: ignore[arg-type]

    def test_spec_holds_every_threshold(self) -> None:
        spec = GenderRule(min_person_area=5000.0).spec()
        assert set(spec) == set(GenderRule.__slots__)
        assert GenderRule(**spec) == GenderRule(min_person_area=5000.0)

    def test_funnel_prints_every_count_and_survives_json(self) -> None:
        funnel = Funnel({"images": 1835, "kept": 9}, {"masculine": 5, "feminine": 4}, {"mixed": 7})
        assert Funnel(**funnel.to_json()) == funnel
        for part in ("images", "1,835", "masculine", "feminine", "mixed"):
            assert part in str(funnel)
