"""From a photo and a text with a gap to token ids: the prompt, where its parts are, what is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from vlbias.causal.cloze import Cloze
from vlbias.causal.example import Picture
from vlbias.errors import BadData, BadModel
from vlbias.models.special_tokens import refuse_special_tokens

__all__ = ["Prompt", "PromptReader", "Row"]


class Row(NamedTuple):
    """One photo and text as the model reads them, for those candidates that one pass can score."""

    image: Picture
    cloze: Cloze
    members: tuple[int, ...]


@dataclass(frozen=True)
class Prompt:
    """What a text is in tokens, before the processor puts the image's tokens into it.

    Args:
        text: As the processor takes it.
        words: Tokens of the text of the cloze.
        spans: Name to the places of a span among them.
        behind: Tokens that the tokenizer puts behind the words.
        pieces: Tokens of each candidate behind the prompt.
    """

    text: str
    words: tuple[int, ...]
    spans: Mapping[str, tuple[int, ...]]
    behind: tuple[int, ...]
    pieces: tuple[tuple[int, ...], ...]


class PromptReader:
    """Turns clozes into prompts.

    Args:
        processor: Of the model; its tokenizer is a fast one.
        template: Whether its chat template is used, where it has one.
        sets_image: Whether the processor sets the image's tokens into a text that has none.
        parted: Whether answers are read in a decoder of their own.
        name: Of the model, for messages.

    Raises:
        BadModel: if the tokenizer cannot say where its tokens come from.
    """

    def __init__(
        self,
        processor: Any,
        *,
        template: Literal["chat", "plain"],
        sets_image: bool,
        parted: bool,
        name: str,
    ) -> None:
        if not processor.tokenizer.is_fast:
            raise BadModel(
                f"{name}: its tokenizer gives no character offsets; use a fast tokenizer"
            )
        self._processor, self._tokenizer = processor, processor.tokenizer
        self._chat = template == "chat" and bool(getattr(processor, "chat_template", None))
        self._sets_image, self._parted, self._name = sets_image, parted, name
        self._known: dict[Cloze, Prompt] = {}

    def rows(self, image: Picture, cloze: Cloze) -> tuple[Row, ...]:
        """The row of each candidate; all candidates of one token share one."""
        pieces = self(cloze).pieces
        short = tuple(k for k, piece in enumerate(pieces) if len(piece) == 1)
        return tuple(
            Row(image, cloze, short if number in short else (number,))
            for number in range(len(pieces))
        )

    def __call__(self, cloze: Cloze) -> Prompt:
        """The prompt of a cloze.

        Raises:
            BadData: if a candidate or a span has no token of its own, or candidates share their first token.
            BadModel: if the chat template changes the text.
        """
        if cloze not in self._known:
            self._known[cloze] = self._made(cloze)
        return self._known[cloze]

    def _made(self, cloze: Cloze) -> Prompt:
        if cloze.after:
            raise BadData(
                f"{cloze.text!r} goes on with {cloze.after!r} behind its gap, which {self._name} "
                "does not read: put it into the candidates"
            )
        refuse_special_tokens(self._name, self._tokenizer, (cloze.text, *cloze.candidates))
        text = self._prompt(cloze.text)
        start = text.rfind(cloze.text)
        if start < 0:
            raise BadModel(
                f"{self._name}: its chat template changes the text {cloze.text!r} into {text[:200]!r}, so that "
                "words cannot be found in it. Ask with template = 'plain' (study table [question])"
            )
        ids, offsets = self._encoded(text)
        inside = _covering(offsets, start, start + len(cloze.text))
        if not inside:
            raise BadData(f"text {cloze.text!r} has no token of {self._name}")
        spans: dict[str, tuple[int, ...]] = {"text": tuple(range(len(inside)))}
        for name, first, last in cloze.spans:
            covered = _covering(offsets, start + first, start + last)
            if not covered:
                raise BadData(f"span {name!r} of {cloze.text!r} holds no token of {self._name}")
            spans[name] = tuple(sorted({*spans.get(name, ()), *(i - inside[0] for i in covered)}))
        words = tuple(ids[inside[0] : inside[-1] + 1])
        behind = tuple(ids[inside[-1] + 1 :])
        return Prompt(text, words, spans, behind, self._pieces(cloze, text, ids))

    def _prompt(self, text: str) -> str:
        if self._chat:
            content = [{"type": "image"}, {"type": "text", "text": text}]
            said = [{"role": "user", "content": content}]
            return str(
                self._processor.apply_chat_template(
                    said, add_generation_prompt=True, tokenize=False
                )
            )
        token = getattr(self._processor, "image_token", "") or ""
        token = getattr(token, "content", token)
        return text if self._sets_image or not token else f"{token}{text}"

    def _pieces(self, cloze: Cloze, text: str, ids: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        pieces = [self._piece(cloze, candidate, text, ids) for candidate in cloze.candidates]
        first: dict[int, str] = {}
        for candidate, piece in zip(cloze.candidates, pieces, strict=True):
            if piece[0] in first:
                raise BadData(
                    f"candidates {first[piece[0]]!r} and {candidate!r} of {cloze.text!r} share their "
                    f"first token in {self._name}, so that their odds are diluted by it: put what they share "
                    "at the end of the text, or choose other candidates"
                )
            first[piece[0]] = candidate
        return tuple(pieces)

    def _piece(
        self, cloze: Cloze, candidate: str, text: str, ids: Sequence[int]
    ) -> tuple[int, ...]:
        if self._parted:
            piece = tuple(self._tokenizer(candidate, add_special_tokens=False)["input_ids"])
        else:
            gap = "" if text[-1:].isspace() else cloze.joint
            whole, _ = self._encoded(f"{text}{gap}{candidate}")
            piece = tuple(whole[len(ids) :]) if whole[: len(ids)] == list(ids) else ()
        if not piece:
            raise BadData(
                f"candidate {candidate!r} behind {cloze.text!r} has no tokens of its own in {self._name}: "
                "choose candidates that start a word"
            )
        return piece

    def _encoded(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids and offsets without the special tokens that end a text."""
        tokens = self._tokenizer(
            text, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False
        )
        ids = list(tokens["input_ids"])
        offsets = [(int(a), int(b)) for a, b in tokens["offset_mapping"]]
        while (
            ids and tokens["special_tokens_mask"][len(ids) - 1] and offsets[len(ids) - 1] == (0, 0)
        ):
            ids.pop()
        return ids, offsets[: len(ids)]


def _covering(offsets: Sequence[tuple[int, int]], start: int, end: int) -> list[int]:
    """The tokens that hold characters of a stretch of the text."""
    return [i for i, (a, b) in enumerate(offsets) if a < b and a < end and b > start]
