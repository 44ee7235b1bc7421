"""From a text with a gap to token ids: where its parts are, and which tokens are asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlbias.causal.cloze import Cloze
from vlbias.causal.staged_model import Batch
from vlbias.errors import BadData, BadModel
from vlbias.models.special_tokens import refuse_special_tokens

__all__ = ["SPANS", "Row", "Tokenised", "Tokenizer", "batch_of"]

SPANS = "span."
"""What the batch's keys of named spans begin with."""


@dataclass(frozen=True, slots=True)
class Row:
    """One text as the model reads it, for those candidates that can be scored in one pass."""

    cloze: Cloze
    members: tuple[int, ...]


@dataclass(frozen=True)
class Tokenised:
    """A row in tokens.

    Args:
        ids: Token ids.
        length: How many of them belong to the text before the gap.
        spans: Name to the tokens of a span.
        asked: (position that predicts, token, candidate): what is read from the model's output.
        candidates: How many candidates the text has, those of other rows included.
    """

    ids: tuple[int, ...]
    length: int
    spans: Mapping[str, tuple[int, ...]]
    asked: tuple[tuple[int, int, int], ...]
    candidates: int


class Tokenizer:
    """Turns clozes into rows of token ids.

    Special tokens are put where the model's own tokenizer puts them, and positions are found from
    characters, so that a leading special token moves nothing.

    Args:
        tokenizer: A fast tokenizer of transformers.
        masked: Whether the gap is filled with mask tokens.
        name: Of the model, for messages.

    Raises:
        BadModel: if the tokenizer cannot say where its tokens come from, or has no mask token.
    """

    def __init__(self, tokenizer: Any, *, masked: bool, name: str) -> None:
        if not tokenizer.is_fast:
            raise BadModel(
                f"{name}: its tokenizer gives no character offsets; use a fast tokenizer"
            )
        if masked and tokenizer.mask_token_id is None:
            raise BadModel(f"{name}: its tokenizer has no mask token")
        self._tokenizer, self._masked, self._name = tokenizer, masked, name
        self._known: dict[Cloze, tuple[list[list[int]], list[int], list[tuple[int, int]]]] = {}

    def ids(self, text: str) -> list[int]:
        """Token ids of a text, without the special tokens that end one."""
        return self._encoded(text)[0]

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """The characters of each token of `ids`."""
        return self._encoded(text)[1]

    def words(self, pattern: re.Pattern[str]) -> dict[str, int]:
        """Entries of the vocabulary that match as a whole, with their ids, in the order of the ids.

        A token that begins with a space is written with a mark for it, which no letter matches.
        """
        entries = self._tokenizer.get_vocab()
        special = set(self._tokenizer.all_special_ids)
        return {
            word: number
            for word, number in sorted(entries.items(), key=lambda item: item[1])
            if number not in special and pattern.fullmatch(word)
        }

    def save(self, folder: Path) -> None:
        """Write it as `from_pretrained` loads it."""
        self._tokenizer.save_pretrained(folder)

    def decoded(self, ids: Sequence[int], *, special: bool = True) -> str:
        """The text of some tokens, special ones among them or not."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=not special))

    def rows(self, cloze: Cloze) -> tuple[Row, ...]:
        """The row of each candidate; candidates that one pass can score share a row.

        A causal model scores all candidates of one token in one pass, a masked one all candidates of
        the same number of tokens.
        """
        pieces = self._pieces(cloze)[0]
        sizes = [len(piece) for piece in pieces]
        rows = []
        for number, size in enumerate(sizes):
            together = self._masked or size == 1
            same = tuple(k for k, other in enumerate(sizes) if other == size)
            rows.append(Row(cloze, same if together else (number,)))
        return tuple(rows)

    def __call__(self, row: Row) -> Tokenised:
        """A row in tokens."""
        pieces, ids, offsets = self._pieces(row.cloze)
        size = len(pieces[row.members[0]])
        tail: list[int] = []
        if self._masked:
            ids, offsets, tail = self._with_masks(row.cloze, size)
        length = len(ids)
        spans = {"prompt": tuple(range(length)), **self._spans(row.cloze, offsets)}
        first = length if self._masked else length - 1
        asked = tuple(
            (first + place, token, k) for k in row.members for place, token in enumerate(pieces[k])
        )
        if self._masked:
            spans["gap"] = tuple(range(length, length + size))
        else:
            tail = pieces[row.members[0]][:-1]
        return Tokenised((*ids, *tail), length, spans, asked, len(pieces))

    def _spans(
        self, cloze: Cloze, offsets: Sequence[tuple[int, int]]
    ) -> dict[str, tuple[int, ...]]:
        """The tokens of every named span; those of one name together."""
        named: dict[str, tuple[int, ...]] = {}
        for name, start, end in cloze.spans:
            inside = tuple(_inside(offsets, start, end))
            if not inside:
                raise BadData(f"span {name!r} of {cloze.text!r} holds no token of {self._name}")
            named[name] = tuple(sorted({*named.get(name, ()), *inside}))
        return named

    def _pieces(self, cloze: Cloze) -> tuple[list[list[int]], list[int], list[tuple[int, int]]]:
        """Tokens of each candidate, tokens of the text, and the characters the latter come from."""
        if cloze in self._known:
            return self._known[cloze]
        if cloze.after and not self._masked:
            raise BadData(
                f"{cloze.text!r} goes on with {cloze.after!r} after its gap, which {self._name} cannot read: "
                "put it into the candidates"
            )
        texts = (cloze.text, *cloze.candidates, cloze.after)
        refuse_special_tokens(self._name, self._tokenizer, texts)
        ids, offsets = self._encoded(cloze.text)
        pieces = []
        for candidate in cloze.candidates:
            whole, _ = self._encoded(f"{cloze.text}{cloze.joint}{candidate}")
            if whole[: len(ids)] != ids or len(whole) == len(ids):
                raise BadData(
                    f"candidate {candidate!r} after {cloze.text!r} has no tokens of its own in {self._name}: "
                    "choose candidates that start a word"
                )
            pieces.append(whole[len(ids) :])
        self._known[cloze] = pieces, ids, offsets
        return self._known[cloze]

    def _encoded(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids and offsets without the special tokens that end a text."""
        tokens = self._tokenizer(
            text, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False
        )
        special = tokens["special_tokens_mask"]
        last = max((i for i, flag in enumerate(special) if not flag), default=-1)
        offsets = [
            (0, 0) if flag else tuple(pair)
            for flag, pair in zip(special, tokens["offset_mapping"], strict=True)
        ]
        return list(tokens["input_ids"][: last + 1]), offsets[: last + 1]

    def _with_masks(
        self, cloze: Cloze, size: int
    ) -> tuple[list[int], list[tuple[int, int]], list[int]]:
        """Tokens before the first mask, their offsets, and all tokens from the first mask on."""
        mask = self._tokenizer.mask_token
        # words that touch a mask are split otherwise than words before a space: ask for the whole
        text = f"{cloze.text}{cloze.joint}{' '.join([mask] * size)}{cloze.after}"
        tokens = self._tokenizer(text, return_offsets_mapping=True, verbose=False)
        ids = list(tokens["input_ids"])
        place = ids.index(self._tokenizer.mask_token_id)
        return ids[:place], [tuple(p) for p in tokens["offset_mapping"][:place]], ids[place:]


def _inside(offsets: Sequence[tuple[int, int]], start: int, end: int) -> Iterator[int]:
    for place, (a, b) in enumerate(offsets):
        if a < end and b > start and a < b:
            yield place


def batch_of(rows: Sequence[Tokenised], pad: int, device: torch.device) -> Batch:
    """The batch of tokenised rows, padded on the right.

    Returns:
        input_ids and attention_mask [R, T]; length [R] of the text; at [R, P] positions to read and ask
        [R, P, K] the token of each candidate there, -1 for none; a mask [R, T] for each named span.
    """
    width = max(len(row.ids) for row in rows)
    candidates = max(row.candidates for row in rows)
    places = [list(dict.fromkeys(position for position, _, _ in row.asked)) for row in rows]
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    at = torch.zeros((len(rows), max(map(len, places))), dtype=torch.long)
    ask = torch.full((*at.shape, candidates), -1)
    spans = {
        name: torch.zeros((len(rows), width), dtype=torch.bool)
        for name in dict.fromkeys(name for row in rows for name in row.spans)
    }
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        mask[i, : len(row.ids)] = 1
        at[i] = places[i][-1]
        at[i, : len(places[i])] = torch.tensor(places[i])
        for position, token, k in row.asked:
            ask[i, places[i].index(position), k] = token
        for name, inside in row.spans.items():
            spans[name][i, list(inside)] = True
    length = torch.tensor([row.length for row in rows])
    batch: dict[str, Tensor] = {
        "input_ids": ids, "attention_mask": mask, "length": length, "at": at, "ask": ask
    }  # fmt: skip
    batch |= {SPANS + name: span for name, span in spans.items()}
    return {key: tensor.to(device) for key, tensor in batch.items()}
