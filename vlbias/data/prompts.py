"""The text channel: named templates, and how class names and group words fill them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from vlbias.causal.example import GroundedText
from vlbias.data.lexicon import article, match_case
from vlbias.errors import BadData, BadStudy, UnknownName

__all__ = ["GROUP_WORDS", "NEUTRAL_WORD", "PROMPTS", "Prompt", "class_phrase", "prompt_named"]

PROMPTS: Mapping[str, str] = {
    "template": "a photo of a {person} with a {object}",
    "template-neutral": "a photo of a {object}",
    "caption": "{caption}",
    "caption+class": "{caption} with a {object}",
    "caption+categories": "{caption}. {categories}",
    "categories": "{categories}",
    "template+categories": "a photo of a {person}. {categories}",
    "question": "Is there a {object} in this photo?",
    "question-see": "Do you see a {object} in this photo?",
    "question-contain": "Does this photo contain a {object}?",
    "question+person": "Is there a {object} near the {person} in this photo?",
}
"""Named strategies; a study may also give "custom:" and a template with the same places.

Questions are for generative models, which answer yes or no; two are paraphrases of the first.
"""

GROUP_WORDS: Mapping[str, str] = MappingProxyType({"masculine": "man", "feminine": "woman"})
NEUTRAL_WORD = "person"

_PLACE = re.compile(r"\{([^{}]*)\}")
_PLACES = ("person", "object", "caption", "categories")
# Names that take no article: they are plural.
_BARE = frozenset({"skis", "scissors", "people"})
# PASCAL VOC writes some classes as one word.
_SPOKEN = {"diningtable": "dining table", "pottedplant": "potted plant", "tvmonitor": "tv monitor"}


def class_phrase(name: str) -> str:
    """The class name as a caption would write it: "diningtable" is "dining table"."""
    return _SPOKEN.get(name, name.replace("_", " "))


@dataclass(frozen=True)
class Prompt:
    """How the text of an example is made.

    A template with the place `{object}` gives one text per class, otherwise one text in all; with
    `{categories}` that text tells which of its words stand for which class.
    "a" before `{person}` and `{object}` becomes "an", or goes, as the word needs.

    Args:
        name: What tables call it.
        template: Text with places `{person}`, `{object}`, `{caption}`, `{categories}`.
        words: Group to the word for it; groups without one get `neutral`.
        neutral: The word that tells no group; replace-gender puts it at `{person}`.

    Raises:
        BadStudy: if the template is empty or has a place of another name, or a word is empty.
    """

    name: str
    template: str
    words: Mapping[str, str] = field(default_factory=lambda: GROUP_WORDS)
    neutral: str = NEUTRAL_WORD

    def __post_init__(self) -> None:
        places = _PLACE.findall(self.template)
        wrong = [place for place in places if place not in _PLACES]
        if wrong or not self.template.strip() or "{" in _PLACE.sub("", self.template):
            expected = f"a text with places of {{{'}, {'.join(_PLACES)}}} only"
            raise BadStudy("prompt", self.template, expected)
        if places.count("categories") + ("object" in places) > 1:
            raise BadStudy("prompt", self.template, "{categories} once, and no {object} beside it")
        if not all(word.strip() for word in (*self.words.values(), self.neutral)):
            raise BadStudy("prompt.words", dict(self.words), "a word for every group")

    @property
    def is_per_class(self) -> bool:
        """Whether it gives a tuple with one text per class."""
        return "{object}" in self.template

    def word(self, group: str) -> str:
        """The word for a group."""
        return self.words.get(group, self.neutral)

    def frame(self, captions: Sequence[str]) -> str:
        """The template with the prompt caption set in: the first one, which labels do not read.

        Raises:
            BadData: if a caption is needed and there is none.
        """
        if "{caption}" not in self.template:
            return self.template
        if not captions:
            raise BadData(f"prompt {self.name!r} needs a caption, and a photo has none")
        caption = " ".join(captions[0].split()).replace("{", "(").replace("}", ")")
        if self.template.strip() != "{caption}":
            caption = caption.rstrip(" .")
        return self.template.replace("{caption}", caption)

    @property
    def lists_classes(self) -> bool:
        """Whether its text lists the classes, as detectors read them."""
        return "{categories}" in self.template

    def fill(self, frame: str, classes: Sequence[str]) -> str | tuple[str, ...] | GroundedText:
        """The text; one text per class in the order of `classes`; or a text that lists them."""
        if self.lists_classes:
            before, _, after = frame.partition("{categories}")
            return GroundedText(before, tuple(map(class_phrase, classes)), after)
        if not self.is_per_class:
            return frame
        return tuple(set_word(frame, "{object}", class_phrase(name)) for name in classes)

    def texts(
        self,
        captions: Sequence[str],
        group: str,
        classes: Sequence[str],
        rewrite: Callable[[str], str] = str,
    ) -> str | tuple[str, ...] | GroundedText:
        """The text channel for one photo.

        Args:
            captions: All captions of the photo.
            group: Its group, which chooses the word for a person.
            classes: Class names.
            rewrite: Applied to the frame before class names are set in, so it cannot touch them.
        """
        frame = set_word(self.frame(captions), "{person}", self.word(group))
        return self.fill(rewrite(frame), classes)


def set_word(frame: str, place: str, word: str) -> str:
    """The frame with the word at the place, and the article before it made to agree."""
    with_article = re.compile(r"\b([Aa])n?(\s+)" + re.escape(place))

    def agreed(match: re.Match[str]) -> str:
        if word in _BARE:
            return match_case(word, match.group(1))
        return match_case(article(word), match.group(1)) + match.group(2) + word

    return with_article.sub(agreed, frame).replace(place, word)


def prompt_named(
    name: str, words: Mapping[str, str] | None = None, neutral: str = NEUTRAL_WORD
) -> Prompt:
    """The prompt of that name, or one from "custom:" and a template.

    Raises:
        UnknownName: with suggestions, if there is no such prompt.
        BadStudy: if a custom template is not well formed.
    """
    words = GROUP_WORDS if words is None else words
    if name.startswith("custom:"):
        return Prompt(name, name.removeprefix("custom:").strip(), words, neutral)
    if name not in PROMPTS:
        raise UnknownName("prompt", name, [*PROMPTS, "custom:<template>"])
    return Prompt(name, PROMPTS[name], words, neutral)
