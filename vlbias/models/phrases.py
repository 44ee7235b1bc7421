"""What a grounded detector reads: texts cut into pieces that fit, and the class of every token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from vlbias.causal.detection_readout import even_cuts
from vlbias.causal.example import GroundedText
from vlbias.causal.staged_model import Batch
from vlbias.errors import BadModel, BadStudy
from vlbias.models.grounded import class_counts
from vlbias.models.special_tokens import refuse_special_tokens

__all__ = ["DELIMITERS", "PhraseReader", "PhraseText"]

DELIMITERS = (".", "?")
OTHER, SEPARATOR, PADDING = -1, -2, -3
RESERVE = 48
"""Tokens kept free for a caption: whether a list of classes is cut must not depend on the caption."""


@dataclass(frozen=True, slots=True)
class PhraseText:
    """One text of the tower.

    Args:
        text: As the tokenizer gets it.
        spans: Class number, first character and end of each phrase in it.
        classes: How many classes the whole text asks for.
    """

    text: str
    spans: tuple[tuple[int, int, int], ...]
    classes: int


@dataclass
class PhraseReader:
    """Turns texts into pieces and pieces into token ids with roles.

    Args:
        name: Of the model, for messages.
        tokenizer: A fast tokenizer; padding on the right.
        limit: Most tokens that the model reads.
        separators: Token ids that end a phrase; in Grounding DINO's code [CLS], [SEP], "." and "?".
        closed: Whether a full stop ends a text whose last phrase has none.

    Raises:
        BadModel: if the tokenizer gives these tokens other ids, so that phrases would run together.
    """

    name: str
    tokenizer: Any
    limit: int
    separators: tuple[int, ...]
    closed: bool = True
    _cuts: dict[tuple[str, ...], tuple[tuple[int, int], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tokens = [self.tokenizer.cls_token, self.tokenizer.sep_token, *DELIMITERS]
        found = self.tokenizer.convert_tokens_to_ids(tokens)
        if sorted(found) != sorted(self.separators):
            raise BadModel(
                f"{self.name}: the tokenizer has the ids {found} for {tokens}, the model separates "
                f"phrases at {list(self.separators)}; use the tokenizer the model was trained with"
            )

    def pieces(self, text: str | tuple[str, ...] | GroundedText) -> tuple[PhraseText, ...]:
        """One piece, or several where the classes do not fit into one.

        A plain text is one phrase; a tuple holds one phrase per class.

        Raises:
            BadStudy: if a phrase is empty or holds a full stop or question mark.
        """
        if isinstance(text, str):
            return (PhraseText(self._ended(text), ((0, 0, len(text)),), 1),)
        grounded = text if isinstance(text, GroundedText) else GroundedText("", text)
        return tuple(self._piece(grounded, *cut) for cut in self._cut(grounded.phrases))

    def _piece(self, text: GroundedText, start: int, stop: int) -> PhraseText:
        words, spans = text.before, []
        for number in range(start, stop):
            phrase = text.phrases[number]
            spans.append((number, len(words), len(words) + len(phrase)))
            words += phrase + (". " if number + 1 < stop else "")
        if text.after:
            words += "."
        return PhraseText(self._ended(words + text.after), tuple(spans), len(text.phrases))

    def _ended(self, text: str) -> str:
        # Grounding DINO's code lets the words of an open last phrase see each other only if padding follows
        if not self.closed or text.rstrip().endswith(DELIMITERS):
            return text
        return f"{text.rstrip()}."

    def _cut(self, phrases: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
        if phrases not in self._cuts:
            for phrase in phrases:
                if not phrase.strip() or any(mark in phrase for mark in DELIMITERS):
                    expected = "class names that are not empty and hold no '.' or '?'"
                    raise BadStudy("objects", phrase, expected)
            # without what stands once around the whole text
            lengths = [len(ids) - 2 for ids in self._ids([f"{phrase}." for phrase in phrases])]
            self._cuts[phrases] = self._even(phrases, lengths)
        return self._cuts[phrases]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(list(texts))["input_ids"]
        return ids

    def _even(self, phrases: Sequence[str], lengths: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """The fewest cuts of about equal length that leave room for a caption."""
        room = self.limit - 2 - min(RESERVE, self.limit // 4)
        if max(lengths) > room:
            longest = phrases[lengths.index(max(lengths))]
            raise BadModel(f"{self.name}: the class name {longest!r} has more than {room} tokens")
        return even_cuts(lengths, room)

    def read(self, pieces: Sequence[PhraseText]) -> Batch:
        """Token ids [R, T] with mask and types, `roles` [R, T], `classes` and `length` [R].

        A role is the class a token belongs to, or negative: another word, a separator, padding.

        Raises:
            BadData: if a text holds a special token.
            BadModel: if a text has too many tokens, asks for another number of classes than its
                neighbours, or has a class whose name the tokenizer does not know.
        """
        texts = [piece.text for piece in pieces]
        refuse_special_tokens(self.name, self.tokenizer, texts)
        read = self.tokenizer(
            texts,
            padding=True,
            return_tensors="pt",
            return_token_type_ids=True,
            return_offsets_mapping=True,
        )
        mask, offsets = read["attention_mask"], read.pop("offset_mapping")
        classes = class_counts(self.name, [piece.classes for piece in pieces])
        if mask.shape[1] > self.limit:
            longest = pieces[int(mask.sum(1).argmax())].text
            raise BadModel(
                f"{self.name}: the text {longest[:80]!r}… has {mask.shape[1]} tokens, the model reads "
                f"{self.limit}; use a shorter caption or a prompt without one"
            )
        roles = torch.full_like(mask, OTHER)
        for row, piece in enumerate(pieces):
            for number, start, end in piece.spans:
                inside = (offsets[row, :, 0] >= start) & (offsets[row, :, 1] <= end)
                roles[row, inside & (offsets[row, :, 1] > offsets[row, :, 0])] = number
        self._refuse_unknown(pieces, read["input_ids"], roles)
        separates = torch.isin(read["input_ids"], torch.tensor(self.separators))
        roles[separates & (roles == OTHER)] = SEPARATOR
        roles[mask == 0] = PADDING
        batch = {key: read[key] for key in ("input_ids", "attention_mask", "token_type_ids")}
        return {
            **batch,
            "roles": roles,
            "classes": classes,
            "length": mask.sum(1),
        }

    def _refuse_unknown(
        self, pieces: Sequence[PhraseText], ids: torch.Tensor, roles: torch.Tensor
    ) -> None:
        known = ids != self.tokenizer.unk_token_id
        for row, piece in enumerate(pieces):
            for number, start, end in piece.spans:
                own = known[row, roles[row] == number]
                # a caption may hold a word that is not known, a class name may not
                is_caption = piece.classes == 1 and start == 0 and end >= len(piece.text) - 1
                if not bool(own.any()) or not (is_caption or bool(own.all())):
                    raise BadModel(
                        f"{self.name}: the tokenizer does not know a word of "
                        f"{piece.text[start:end][:80]!r}; name the class otherwise"
                    )
