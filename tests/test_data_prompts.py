"""Prompts: every strategy, words of any groups, and templates that are none."""

from __future__ import annotations

import pytest

from vlbias.causal.example import GroundedText
from vlbias.data.prompts import PROMPTS, Prompt, class_phrase, prompt_named
from vlbias.errors import BadData, BadStudy, UnknownName


class TestPrompts:
    captions = ("A man holding his umbrella .", "A man")
    classes = ("person", "umbrella", "skis", "diningtable")

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("template", ("a photo of a man with a person", "a photo of a man with an umbrella",
                          "a photo of a man with skis", "a photo of a man with a dining table")),
            ("template-neutral", ("a photo of a person", "a photo of an umbrella",
                                  "a photo of skis", "a photo of a dining table")),
            ("caption", "A man holding his umbrella ."),
            ("caption+class", tuple(f"A man holding his umbrella with {thing}" for thing in
                                    ("a person", "an umbrella", "skis", "a dining table"))),
            ("caption+categories",
             GroundedText("A man holding his umbrella. ",
                          ("person", "umbrella", "skis", "dining table"))),
            ("categories", GroundedText("", ("person", "umbrella", "skis", "dining table"))),
            ("template+categories", GroundedText("a photo of a man. ",
                                                 ("person", "umbrella", "skis", "dining table"))),
            ("question", tuple(f"Is there {thing} in this photo?" for thing in
                               ("a person", "an umbrella", "skis", "a dining table"))),
            ("question-see", tuple(f"Do you see {thing} in this photo?" for thing in
                                   ("a person", "an umbrella", "skis", "a dining table"))),
            ("question-contain", tuple(f"Does this photo contain {thing}?" for thing in
                                       ("a person", "an umbrella", "skis", "a dining table"))),
            ("question+person", tuple(f"Is there {thing} near the man in this photo?" for thing in
                                      ("a person", "an umbrella", "skis", "a dining table"))),
            ("custom:This is a {person}; a {object}",
             tuple(f"This is a man; {t}" for t in ("a person", "an umbrella", "skis",
                                                   "a dining table"))),
        ],
    )  # fmt: skip
    def test_strategies(self, name: str, expected: object) -> None:
        assert prompt_named(name).texts(self.captions, "masculine", self.classes) == expected

    def test_every_strategy_is_tested_above(self) -> None:
        marks = TestPrompts.test_strategies.pytestmark  # type: ignore[attr-defined]
        assert set(PROMPTS) <= {case[0] for case in marks[0].args[1]}

    def test_words_of_k_groups(self) -> None:
        words = {"young": "young person", "old": "elderly person"}
        prompt = prompt_named("custom:A {person}", words)
        assert prompt.texts((), "old", ()) == "An elderly person"
        assert prompt.texts((), "young", ()) == "A young person"
        assert prompt.texts((), "other", ()) == "A person"

    @pytest.mark.parametrize("template", ["a {thing}", "", "a {person", "{}"])
    def test_templates_that_are_none(self, template: str) -> None:
        with pytest.raises(BadStudy, match="prompt"):
            Prompt("mine", template)

    def test_unknown_name_is_answered_with_a_suggestion(self) -> None:
        with pytest.raises(UnknownName, match=r"caption\+class"):
            prompt_named("caption-class")

    def test_a_caption_is_needed(self) -> None:
        with pytest.raises(BadData, match="caption"):
            prompt_named("caption").texts((), "masculine", ())

    def test_class_names_are_spoken(self) -> None:
        assert class_phrase("tvmonitor") == "tv monitor"
        assert class_phrase("wine_glass") == "wine glass"
