"""Mitigations of what goes in: a region of the photo filled, gender words of texts made neutral."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from vlbias.causal.example import Example, GroundedText, Inputs, Picture, mix
from vlbias.causal.staged_model import StagedModel
from vlbias.data.fill import FILLS, Fill, FillRegion
from vlbias.data.lexicon import gender_words, neutralise, placebo
from vlbias.data.regions import lacking
from vlbias.errors import BadData, BadStudy
from vlbias.mitigations.base import Learned, Mitigation, Need
from vlbias.mitigations.feature_blur import placebo_of
from vlbias.mitigations.mitigated_model import Rewriting, revised
from vlbias.mitigations.sites import SitePoint

__all__ = ["PixelBlur", "TextNeutral", "asks_for_gender"]

Where = Literal["input", "features", "weights"]


@dataclass(frozen=True)
class PixelBlur(Mitigation):
    """Fills a region of every photo before the model sees it; the strength is the share of the fill.

    The same operation as the world mask-gender.

    Args:
        region: Name of the region that pictures carry.
        fill: "blur", "mean", "black" or "inpaint"; see `vlbias.data.fill.FillRegion`.
        blur_per_height: Standard deviation of the blur over the height of each box.
        keep: Name of a region that is painted back, "objects" for other annotated objects; none if empty.

    Raises:
        BadStudy: if a setting is not allowed.
    """

    name: ClassVar[str] = "pixel-blur"
    place: ClassVar[Where] = "input"
    needs: ClassVar[frozenset[Need]] = frozenset({"regions"})

    region: str = "person"
    fill: Fill = "blur"
    blur_per_height: float = 0.1
    keep: str = ""

    def __post_init__(self) -> None:
        if self.fill not in FILLS:
            raise BadStudy("pixel-blur.fill", self.fill, f"one of {', '.join(FILLS)}")
        if not self.blur_per_height > 0:
            raise BadStudy("pixel-blur.blur_per_height", self.blur_per_height, "a positive number")

    def placebo(self) -> PixelBlur:
        """The same on the region of equal area elsewhere."""
        return replace(self, region=placebo_of(self.region))

    def unusable(self, examples: Sequence[Example]) -> dict[str, str]:
        """Photos without a known region."""
        spared = lacking(examples, self.keep) if self.keep else {}
        return {**spared, **lacking(examples, self.region)}

    def sites_in(self, model: StagedModel) -> list[SitePoint]:
        """Nowhere: another photo goes in."""
        return []

    def learn(
        self, model: StagedModel, examples: Sequence[Example], rng: np.random.Generator
    ) -> Learned:
        """Nothing to learn; the model must read images, and the examples carry the regions."""
        _refuse_without(model, "image", self.name)
        missing = self.unusable(examples)
        if missing:
            named = ", ".join(f"{number} ({why})" for number, why in [*missing.items()][:5])
            raise BadData(f"{len(missing)} photos cannot be used: {named}; leave them out")
        return Learned()

    @contextmanager
    def patched(
        self, model: StagedModel, learned: Learned, strength: float
    ) -> Iterator[StagedModel]:
        """The model that sees filled photos."""

        def rewrite(inputs: Inputs) -> Inputs:
            return mix(inputs, {"image": self.filled(inputs["image"], strength)}, {"image"})

        yield Rewriting(model, revised(model.revision, self.spec, strength), rewrite)

    def filled(self, picture: Picture, strength: float) -> Picture:
        """The picture with its region filled.

        Raises:
            BadData: if the picture does not carry the region.
        """
        region = picture.region(self.region)
        if region.is_empty:
            return picture
        edit = FillRegion(
            region.boxes,
            self.fill,
            strength,
            self.blur_per_height,
            region.height,
            region.mask,
            picture.region(self.keep) if self.keep else None,
        )
        return replace(picture, edits=(*picture.edits, edit))


@dataclass(frozen=True)
class TextNeutral(Mitigation):
    """Replaces gender words of texts by neutral ones, one word for one word.

    "her" becomes "their" or "them" by what follows it. What asks for gender is left alone, since a
    query for women must find women (SANER, Hirota et al. 2024): the phrases that a detector is to
    ground, what distinguishes the class prompts of an example, and texts in which nothing but gender
    is asked for ("a photo of a woman").

    At a strength below 1 only the first so many gender words of a text are replaced, rounded up.

    Args:
        spared: Texts that are left alone too, word by word as they are given.
        control: Replace as many words that say nothing of gender by near-synonyms instead.
    """

    name: ClassVar[str] = "text-neutral"
    place: ClassVar[Where] = "input"

    spared: tuple[str, ...] = ()
    control: bool = False

    def placebo(self) -> TextNeutral:
        """As many other words replaced; in the texts that have so many."""
        return replace(self, control=True)

    def unusable(self, examples: Sequence[Example]) -> dict[str, str]:
        """For the placebo, examples whose texts have too few other words."""
        reasons = {}
        for example in examples:
            for inputs in example.worlds.values():
                try:
                    self.rewritten(inputs["text"], 1.0)
                except BadData as error:
                    reasons[example.id] = str(error)
        return reasons

    def sites_in(self, model: StagedModel) -> list[SitePoint]:
        """Nowhere: other texts go in."""
        return []

    def learn(
        self, model: StagedModel, examples: Sequence[Example], rng: np.random.Generator
    ) -> Learned:
        """Nothing to learn; the model must read texts."""
        _refuse_without(model, "text", self.name)
        return Learned()

    @contextmanager
    def patched(
        self, model: StagedModel, learned: Learned, strength: float
    ) -> Iterator[StagedModel]:
        """The model that reads rewritten texts."""

        def rewrite(inputs: Inputs) -> Inputs:
            return mix(inputs, {"text": self.rewritten(inputs["text"], strength)}, {"text"})

        yield Rewriting(model, revised(model.revision, self.spec, strength), rewrite)

    def rewritten(self, text: Any, strength: float) -> Any:
        """A caption, a tuple of class prompts or a grounded text, rewritten.

        Raises:
            BadData: if the placebo finds too few words, or the text is of another kind.
        """
        if isinstance(text, GroundedText):
            # what is asked for are the phrases; the words around them ask for nothing
            before, after = (self._words(part, strength) for part in (text.before, text.after))
            return replace(text, before=before, after=after)
        if isinstance(text, tuple):
            return self._prompts(text, strength)
        if isinstance(text, str):
            return self._one(text, strength)
        raise BadData(f"{self.name} rewrites captions and prompts, got {type(text).__name__}")

    def _prompts(self, prompts: tuple[str, ...], strength: float) -> tuple[str, ...]:
        """Class prompts, each left alone where it differs from the others."""
        words = [prompt.split(" ") for prompt in prompts]
        shortest = min(map(len, words)) if len(prompts) > 1 else 0
        before = next((i for i in range(shortest) if len({w[i] for w in words}) > 1), shortest)
        rest = range(shortest - before)
        after = next((i for i in rest if len({w[-1 - i] for w in words}) > 1), len(rest))
        if len(prompts) == 1 or before + after == 0:
            return tuple(self._one(prompt, strength) for prompt in prompts)
        marked = [[*w[:before], _MARK, *w[len(w) - after :]] for w in words]
        own = [" ".join(w[before : len(w) - after]) for w in words]
        frame = self._one(" ".join(marked[0]), strength)
        return tuple(frame.replace(_MARK, phrase) for phrase in own)

    def _one(self, text: str, strength: float) -> str:
        return text if asks_for_gender(text) else self._words(text, strength)

    def _words(self, text: str, strength: float) -> str:
        if text in self.spared:
            return text
        masculine, feminine = gender_words(text)
        many = math.ceil(strength * (len(masculine) + len(feminine)))
        if not self.control:
            return neutralise(text, many)
        changed = placebo(text, many)
        if changed is None:
            raise BadData(f"text placebo: fewer than {many} words with a near-synonym")
        return changed


_MARK = "{object}"
_CARRIER = frozenset(
    re.findall(
        r"\w+",
        "a an the of this that one photo photograph picture image portrait close up closeup is are in "
        "there some two three",
    )
)


def asks_for_gender(text: str) -> bool:
    """Whether a text says nothing but gender: "woman", "a photo of two men", but not "a man on a horse"."""
    gendered = sum(gender_words(text), ())
    content = {word.lower() for word in re.findall(r"[\w'-]+", text)} - _CARRIER - set(gendered)
    return bool(gendered) and not content


def _refuse_without(model: StagedModel, channel: str, name: str) -> None:
    if not any(channel in tower.channels for tower in model.towers):
        raise BadStudy("mitigation", name, f"a model that reads {channel}; {model.name} does not")
