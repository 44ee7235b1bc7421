"""Perceived gender from human captions, by a recorded rule, and the funnel of what was left out.

The labels are the word choices of captioners, not identities; nothing here looks at pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from vlbias.data.english import is_english
from vlbias.data.gendered import gendered, pair_of
from vlbias.data.word_lists import PUBLISHED
from vlbias.errors import BadStudy

__all__ = [
    "RULES",
    "Funnel",
    "GenderRule",
    "PerceivedGender",
    "agreeing_captions",
    "funnel_in_lines",
    "perceived_gender",
]

PerceivedGender = Literal["masculine", "feminine", "mixed", "unknown"]

_PRONOUNS = frozenset({"he", "she", "him", "her", "his", "hers", "himself", "herself"})


@dataclass(frozen=True, slots=True)
class GenderRule:
    """How captions (and, where asked, boxes) become a perceived gender.

    Args:
        name: What tables call the rule.
        words: Which lists: "paired" is the audited table, the others are published lists.
        min_captions: Captions that must hit exactly one list, of those the label may see.
        held_out: First captions that the label never sees, kept for prompting: replace-gender
            removes the very words that make the label.
        caption_with_both: A caption that hits both lists makes the image mixed, or is skipped.
        pronouns: Whether pronouns count as evidence.
        adults_only: An image whose label captions hold a word for a child is unknown.
        min_person_area: Least area of the largest person box, px² of the original image.
        single_person: Exactly one person box of at least `min_person_area`, no crowd.
        dominance: Least ratio of the largest person box to the next one.
    """

    name: str = "strict"
    words: Literal["paired", "zhao2017", "hendricks2018"] = "paired"
    min_captions: int = 2
    held_out: int = 1
    caption_with_both: Literal["mixed", "skip"] = "mixed"
    pronouns: bool = True
    adults_only: bool = False
    min_person_area: float | None = None
    single_person: bool = False
    dominance: float | None = None

    def __post_init__(self) -> None:
        if self.words not in ("paired", "zhao2017", "hendricks2018"):
            raise BadStudy("rule.words", self.words, "paired, zhao2017 or hendricks2018")
        if self.caption_with_both not in ("mixed", "skip"):
            raise BadStudy("rule.caption_with_both", self.caption_with_both, "mixed or skip")
        if self.min_captions < 1:
            raise BadStudy("rule.min_captions", self.min_captions, "1 or more")
        if self.held_out < 0:
            raise BadStudy("rule.held_out", self.held_out, "0 or more")
        for name in ("min_person_area", "dominance"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise BadStudy(f"rule.{name}", value, "a positive number or nothing")

    def spec(self) -> dict[str, Any]:
        """Every field by name, as it goes into examples.json."""
        return asdict(self)

    def person_problem(self, areas: Sequence[float], crowd: bool) -> str | None:
        """Why the persons of an image fail the rule, or None where they pass.

        Args:
            areas: Box areas of single persons, px² of the original image.
            crowd: Whether a crowd of persons is marked.
        """
        sizes = sorted(areas, reverse=True)
        floor = self.min_person_area or 0.0
        large = [area for area in sizes if area >= floor]
        if self.min_person_area is not None and not large:
            return f"no person of at least {floor:g} px²"
        if self.single_person and (crowd or len(large) != 1):
            return "not exactly one person"
        if self.dominance is not None and (
            crowd or not sizes or (len(sizes) > 1 and sizes[0] < self.dominance * sizes[1])
        ):
            return f"no person {self.dominance:g} times as large as the next"
        return None


RULES: Mapping[str, GenderRule] = {
    "strict": GenderRule(),
    # Any caption with "man" or "woman"; images with both are discarded. Rule as recalled in the
    # literature, word list as published.
    "zhao2017": GenderRule("zhao2017", words="zhao2017", min_captions=1, held_out=0),
    # A caption counts only if it hits exactly one list; the published rule is per caption, taking
    # images whose counted captions agree is this project's.
    "hendricks2018": GenderRule(
        "hendricks2018",
        words="hendricks2018",
        min_captions=1,
        held_out=0,
        caption_with_both="skip",
    ),
}
"""Named rules; `dataclasses.replace` changes a threshold."""


def _evidence(caption: str, rule: GenderRule) -> tuple[set[str], set[str]]:
    """The masculine and the feminine words of a caption that the rule counts."""
    drop = frozenset() if rule.pronouns else _PRONOUNS
    if rule.words == "paired":
        told = [hit for hit in gendered(caption) if hit.pair.labels and hit.of_person]
        masculine = {hit.words[0] for hit in told if hit.sex != "feminine"}
        feminine = {hit.words[-1] for hit in told if hit.sex != "masculine"}
        return masculine - drop, feminine - drop
    words = {"".join(c for c in word if c.isalpha()) for word in caption.lower().split()}
    listed = PUBLISHED[rule.words]
    return (words & listed[0]) - drop, (words & listed[1]) - drop


def _is_child(word: str) -> bool:
    pair = pair_of(word)
    return pair is not None and pair.age == "child"


def not_english(captions: Sequence[str], rule: GenderRule) -> int:
    """How many captions that the label may see are left out, since they are not English.

    None under the published lists, whose labels stay as published.
    """
    if rule.words != "paired":
        return 0
    return sum(not is_english(caption) for caption in captions[rule.held_out :])


def perceived_gender(captions: Sequence[str], rule: GenderRule) -> PerceivedGender:
    """What gender the captioners' words tell, by the rule; no image is looked at.

    Args:
        captions: All captions of an image, in their fixed order; the first `rule.held_out` are
            not read.
        rule: Word lists and thresholds.

    Returns:
        "masculine" or "feminine" where at least `rule.min_captions` hit that list and none hits
        the other; "mixed" where both lists are hit; else "unknown".
    """
    evidence = _counted(captions, rule)
    masculine, feminine = _votes(evidence)
    if masculine and feminine:
        return "mixed"
    if rule.adults_only and any(_is_child(word) for m, f in evidence for word in m | f):
        return "unknown"
    if masculine >= rule.min_captions:
        return "masculine"
    return "feminine" if feminine >= rule.min_captions else "unknown"


def agreeing_captions(captions: Sequence[str], rule: GenderRule) -> int:
    """How many captions that the label may see speak for the gender that most of them speak for."""
    return max(_votes(_counted(captions, rule)))


def _counted(captions: Sequence[str], rule: GenderRule) -> list[tuple[set[str], set[str]]]:
    evidence = [_evidence(caption, rule) for caption in captions[rule.held_out :]]
    if rule.caption_with_both == "skip":
        evidence = [(m, f) for m, f in evidence if not (m and f)]
    return evidence


def _votes(evidence: Sequence[tuple[set[str], set[str]]]) -> tuple[int, int]:
    return sum(bool(m) for m, _ in evidence), sum(bool(f) for _, f in evidence)


def has_gender_word(captions: Sequence[str], rule: GenderRule) -> bool:
    """Whether any caption that the label may see holds a word the rule counts."""
    return any(m or f for m, f in (_evidence(c, rule) for c in captions[rule.held_out :]))


@dataclass(frozen=True, slots=True)
class Funnel:
    """How many images are left after each step, in order, and how the kept ones divide.

    Args:
        steps: Name of a step to the number of images left after it.
        groups: Group to the number of kept images.
        dropped: Why images were dropped or left unlabelled, to how many.
        captions: Why captions were not read for the label, to how many.
    """

    steps: Mapping[str, int]
    groups: Mapping[str, int]
    dropped: Mapping[str, int] = field(default_factory=dict)
    captions: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, dict[str, int]]:
        """Plain dictionaries in the order of the steps; without `captions` where it is empty."""
        content = {
            "steps": dict(self.steps),
            "groups": dict(self.groups),
            "dropped": dict(self.dropped),
        }
        return content | ({"captions": dict(self.captions)} if self.captions else {})

    def __str__(self) -> str:
        rows = [*self.steps.items()]
        rows += [(f"  {group}", n) for group, n in self.groups.items()]
        rows += [(f"  not kept: {why}", n) for why, n in self.dropped.items()]
        rows += [(f"  captions not read: {why}", n) for why, n in self.captions.items()]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {n:>7,}" for name, n in rows)


def funnel_in_lines(content: Any) -> str:
    """A funnel as a manifest holds it, of photos or of texts, as lines."""
    if "steps" in content:
        return str(Funnel(**content))
    lines = content.items() if isinstance(content, Mapping) else [("", content)]
    return "\n".join(f"{step}: {count}" if step else str(count) for step, count in lines)
