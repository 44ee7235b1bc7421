"""The items of prompts: single tokens of a model's own vocabulary."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from vlbias.errors import BadModel, BadStudy
from vlbias.studies.symbolic.prompts import Format

__all__ = ["Vocabulary"]

_LETTERS = re.compile(r"[a-zA-Z]+")
_NO_VOWEL = re.compile(r"[b-df-hj-np-tv-xzB-DF-HJ-NP-TV-XZ]{2,}")
_NOUNS = frozenset(
    """
    age air angle animal area arm army art back bag ball bank bar base bed bell bird block blood board boat
    body bone book box brand bread bridge brother building bus cake camera camp car card case cat cell
    center chain chair chance child church city class clock cloud club coat code coffee color corn corner
    country court cover cow crowd cup data date daughter day death desk dog door dream dress drug ear earth
    edge egg engine eye face farm father field file film fire fish flag floor flow food foot force forest
    form friend front fruit game garden gas gift girl glass goal gold grass green ground group guard gun
    hair hall hand hat head heart heat hill home horse hotel hour house ice image iron island item job key
    kid king kit lady lake land law leaf leg letter level library light line lion list machine mail man map
    mark market master match meal meat metal milk mind mine money month moon mother mountain mouse mouth
    music name neck net news night noise north nose note number office oil order page pain paint paper park
    part party path people phone photo pig pipe place plane plant plate point pool port post power price
    prince queen rain rate red ring river road rock role roof room root rope rose row rule sand school score
    sea seat seed sense shape ship shirt shoe shop side sign silver sister skin sky snow soil son song sort
    sound soup south space spring square stage star state station steel stick stone store storm story street
    string student sugar sun table tail talk tank taste tax teacher team test text thing thread time title
    tool tower town track train tree type user valley value video view village voice wall war watch water
    wave week weight wheel wife wind window wine wing winter wolf woman wood word work world year
    """.split()  # noqa: SIM905, a list would be one word a line
)


class Vocabulary:
    """What a model's tokens allow: the words to draw from, and how a prompt must be tokenised.

    Args:
        model: A causal language model.
        items: See `Study.items`.
        format: Layout of the prompts.

    Raises:
        BadStudy: if there are too few words for a prompt.
        BadModel: if the tokenizer merges separators with their neighbours.
    """

    def __init__(self, model: Any, items: str, format: Format) -> None:
        self.model = model
        every = model.words(_LETTERS)
        fits: dict[str, Callable[[str], bool]] = {
            "all": lambda word: True,
            "letters": lambda word: len(word) == 1,
            "words": lambda word: word.lower() in _NOUNS,
            "nonsense": lambda word: _NO_VOWEL.fullmatch(word) is not None,
        }
        self.ids: dict[str, int] = {
            word: number for word, number in every.items() if fits[items](word)
        }
        self.words = tuple(self.ids)
        least = 2 * (format.shots + 1)
        if len(self.words) < least:
            raise BadStudy(
                "items",
                items,
                f"a vocabulary with {least} such words or more, which {format.shots} shots need; {model.name} "
                f"has {len(self.words)} of {len(every)} single tokens of letters",
            )
        self.begin = len(model.tokens(self.words[0])) - 1
        self._apart = self._one_token(format.separator, "separator")
        self._newline = self._one_token(format.newline, "newline")

    def _one_token(self, mark: str, field: str) -> int:
        """The token of a mark that stands between two words."""
        first, second = self.words[:2]
        ids = self.model.tokens(f"{first}{mark}{second}")[self.begin :]
        if len(ids) != 3 or [ids[0], ids[2]] != [self.ids[first], self.ids[second]]:
            raise BadModel(
                f"{self.model.name}: its tokenizer reads {first + mark + second!r} as {len(ids)} tokens, not "
                f"as item, {field} and item: choose a {field} other than {mark!r} that is one token by itself"
            )
        return int(ids[1])

    def is_laid_out(self, words: list[str], ids: list[int]) -> bool:
        """Whether a prompt is one token for each of its words, none of them merged."""
        apart = (self._apart, self._apart, self._newline)
        wanted = [
            apart[place % 6 // 2] if place % 2 else self.ids[word]
            for place, word in enumerate(words)
        ]
        return ids[self.begin :] == wanted
