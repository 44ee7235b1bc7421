"""The text of one photo in every world: as it is, or with words replaced."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from vlbias.data.lexicon import changed_words, neutralise, placebo, swap
from vlbias.data.prompts import Prompt, set_word
from vlbias.data.world import World, WorldAbsent

__all__ = ["PhotoTexts"]


class PhotoTexts:
    """The texts of one photo.

    Args:
        row: The photo's row of the data set.
        prompt: Makes the text.
        classes: That the text asks for.
        filled: Frame to filled text, shared by all photos: equal texts are the same object.
    """

    def __init__(
        self,
        row: Mapping[Any, Any],
        prompt: Prompt,
        classes: Sequence[str],
        filled: MutableMapping[str, Any],
    ) -> None:
        self.group, self.prompt, self.classes, self._filled = row["group"], prompt, classes, filled
        self.raw_frame = prompt.frame(row["captions"])
        self.frame = set_word(self.raw_frame, "{person}", prompt.word(self.group))
        self.neutral = neutralise(set_word(self.raw_frame, "{person}", prompt.neutral))

    def text(self, world: World) -> str | tuple[str, ...]:
        """The text in a world.

        Raises:
            WorldAbsent: if it cannot be made; says why.
        """
        frame = self._rewritten(world)
        if frame not in self._filled:
            self._filled[frame] = self.prompt.fill(frame, self.classes)
        return self._filled[frame]  # type: ignore[no-any-return]

    def words_changed(self) -> int:
        """How many words replace-gender changes; the larger number where it changes their count."""
        group, neutral = self.prompt.word(self.group), self.prompt.neutral
        lengths = len(group.split()), len(neutral.split())
        if lengths[0] == lengths[1] or "{person}" not in self.raw_frame:
            return changed_words(self.frame, self.neutral)
        rest = changed_words(self.raw_frame, neutralise(self.raw_frame))
        return rest + max(lengths) * self.raw_frame.count("{person}")

    def _rewritten(self, world: World) -> str:
        if world.text is None:
            return self.frame
        if world.text == "replace-gender":
            return self.neutral
        if world.text == "swap-gender":
            return self._swapped()
        n = self.words_changed()
        text = placebo(self.frame, n)
        if text is None:
            raise WorldAbsent(f"text placebo: fewer than {n} words with a near-synonym")
        return text

    def _swapped(self) -> str:
        words = self.prompt.words
        if "{person}" not in self.raw_frame:
            return swap(self.raw_frame)
        others = [word for group, word in words.items() if group != self.group]
        if len(words) != 2 or len(others) != 1:
            raise WorldAbsent(f"swap-gender needs two groups with words, there are {sorted(words)}")
        return set_word(swap(self.raw_frame), "{person}", others[0])
