"""From rows to a batch: the processor's tensors, and which of a row's tokens are what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vlbias.causal.example import Picture
from vlbias.causal.staged_model import Batch
from vlbias.errors import BadData, BadModel
from vlbias.models.image_text.tokens import Prompt, PromptReader, Row

__all__ = ["PIXELS", "SPANS", "TEXTUAL", "RowReader"]

SPANS = "span."
PIXELS = "pixel_values"
TEXTUAL = (
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "mm_token_type_ids",
    "cross_attention_mask",
    "image_embeds_position_mask",
    "qformer_input_ids",
    "qformer_attention_mask",
    "decoder_input_ids",
)
"""What a processor gives for tokens, [1, tokens, …]; all else is of the image."""
_KEPT = 8
"""Photos whose pixels are kept: rows of one photo follow one another."""


@dataclass(frozen=True)
class _Read:
    """One row: the processor's tensors, the length of its prompt, its named tokens, and what is asked."""

    given: dict[str, Tensor]
    length: int
    spans: dict[str, tuple[int, ...]]
    asked: tuple[tuple[int, int, int], ...]
    candidates: int


class RowReader:
    """Turns rows into batches.

    Args:
        processor: Of the model.
        prompts: How texts are asked.
        image_token: Its id.
        start: First token of a decoder of its own; None if answers follow the text.
        answer_type: What `token_type_ids` says of an answer's tokens.
        limit: Most tokens that the model takes.
        name: Of the model, for messages.
    """

    def __init__(
        self,
        processor: Any,
        prompts: PromptReader,
        *,
        image_token: int,
        start: int | None,
        answer_type: int,
        limit: int,
        name: str,
    ) -> None:
        self._processor, self._prompts, self._name = processor, prompts, name
        self._image_token, self._start, self._limit = image_token, start, limit
        self._answer_type = answer_type
        self._photos: dict[Any, Any] = {}

    def __call__(self, rows: Sequence[Row]) -> Batch:
        """The batch of some rows; what is not of tokens is [rows, …].

        Raises:
            BadData: if a photo cannot be read, or photos of several shapes are in one batch.
            BadModel: if the processor or the template loses the image or the text, or a row is too long.
        """
        read = [self._read(Row(*row)) for row in rows]
        batch = self._stacked([one.given for one in read])
        width = batch["input_ids"].shape[1]
        batch["length"] = torch.tensor([one.length for one in read])
        batch["at"], batch["ask"] = _asked(read)
        for name in dict.fromkeys(name for one in read for name in one.spans):
            mask = torch.zeros((len(read), width), dtype=torch.bool)
            for i, one in enumerate(read):
                mask[i, list(one.spans.get(name, ()))] = True
            batch[SPANS + name] = mask
        return batch

    def _read(self, row: Row) -> _Read:
        prompt = self._prompts(row.cloze)
        given = self._processed(row.image, prompt.text)
        ids = given["input_ids"][0].tolist()
        images = tuple(i for i, token in enumerate(ids) if token == self._image_token)
        if not images:
            raise BadModel(
                f"{self._name}: the prompt {prompt.text[:200]!r} holds no image token once it is processed, so "
                "that the photo would not be seen: its chat template drops the image. Mend the template, or "
                "ask with template = 'plain' (study table [question])"
            )
        words = _run_of(prompt.words, ids)
        if words is None:
            raise BadModel(
                f"{self._name}: its processor splits {row.cloze.text!r} into other tokens than its tokenizer "
                "does, so that words cannot be found"
            )
        pieces = self._pieces(row, prompt, ids[words + len(prompt.words) :])
        spans = {name: tuple(words + i for i in places) for name, places in prompt.spans.items()}
        length, tail = len(ids), list(pieces[row.members[0]][:-1])
        first = length - 1
        if self._start is not None:
            given["decoder_input_ids"] = torch.tensor([[self._start, *tail]])
            first, tail = 0, []
        given = {
            key: _with_answer(key, value, tail, self._answer_type) for key, value in given.items()
        }
        if length + len(tail) > self._limit:
            raise BadModel(
                f"{self._name}: a photo with the text {row.cloze.text[:80]!r} has {length + len(tail)} tokens, "
                f"{len(images)} of them of the image; the model takes {self._limit}. Give smaller photos, or "
                "a shorter prompt"
            )
        asked = tuple(
            (first + p, token, k) for k in row.members for p, token in enumerate(pieces[k])
        )
        spans |= {"image": images, "prompt": tuple(range(length))}
        return _Read(given, length, spans, asked, len(pieces))

    def _pieces(
        self, row: Row, prompt: Prompt, behind: Sequence[int]
    ) -> tuple[tuple[int, ...], ...]:
        """Tokens of each candidate; where the processor ends a prompt in its own way, behind that."""
        if self._start is not None or tuple(behind) == prompt.behind:
            return prompt.pieces
        tokenizer = self._processor.tokenizer
        pieces = []
        for candidate in row.cloze.candidates:
            pieces.append(tuple(tokenizer(candidate, add_special_tokens=False)["input_ids"]))
        return tuple(pieces)

    def _processed(self, image: Picture, text: str) -> dict[str, Tensor]:
        """What the processor gives; the parts of the image are made once for a photo."""
        key = image.key if isinstance(image, Picture) else id(image)
        if key not in self._photos:
            while len(self._photos) >= _KEPT:
                self._photos.pop(next(iter(self._photos)))
            self._photos[key] = (image if isinstance(image, Picture) else Picture(image)).open()
        try:
            given = self._processor(text=[text], images=[[self._photos[key]]], return_tensors="pt")
        except ValueError as error:
            raise BadModel(
                f"{self._name}: its processor does not take one photo with {text[:200]!r} ({error}): either "
                "its chat template drops the image, or the photo is of no size that it knows. Mend the "
                "template, or ask with template = 'plain' (study table [question])"
            ) from error
        tensors = {
            name: value.long() if name.endswith("mask") else value
            for name, value in given.items()
            if isinstance(value, Tensor) and name != "labels"
        }
        if PIXELS not in tensors and not any(v.is_floating_point() for v in tensors.values()):
            raise BadModel(f"{self._name}: its processor gives no pixels: {sorted(tensors)}")
        return tensors

    def _stacked(self, made: Sequence[Mapping[str, Tensor]]) -> Batch:
        batch: Batch = {}
        pad = self._processor.tokenizer.pad_token_id or 0
        for key in made[0]:
            values = [one[key] for one in made]
            if key in TEXTUAL:
                width = max(value.shape[1] for value in values)
                fill = pad if key.endswith("input_ids") else 0
                batch[key] = torch.cat([_padded(value, width, fill) for value in values])
            elif len({value.shape for value in values}) > 1:
                shapes = sorted({tuple(value.shape) for value in values})
                raise BadData(
                    f"{self._name}: photos of one batch give {key} of several shapes {shapes}; give photos of "
                    "one size"
                )
            else:
                batch[key] = torch.stack(values)
        return batch


def _with_answer(key: str, value: Tensor, tail: Sequence[int], answer_type: int) -> Tensor:
    """A tensor of the prompt's tokens with those of an answer behind them."""
    if not tail or key not in TEXTUAL or key.startswith(("qformer", "decoder")):
        return value
    if key == "cross_attention_mask":  # words of the answer see what the last of the prompt sees
        return torch.cat([value, value[:, -1:].expand(-1, len(tail), *value.shape[2:])], 1)
    more = {"input_ids": list(tail), "attention_mask": [1] * len(tail)}
    more["token_type_ids"] = [answer_type] * len(tail)
    behind = torch.tensor([more.get(key, [0] * len(tail))], dtype=value.dtype)
    return torch.cat([value, behind], 1)


def _padded(value: Tensor, width: int, fill: int) -> Tensor:
    missing = (0, 0) * (value.ndim - 2) + (0, width - value.shape[1])
    padded: Tensor = nn.functional.pad(value, missing, value=fill)
    return padded


def _asked(read: Sequence[_Read]) -> tuple[Tensor, Tensor]:
    """Tokens behind which answers are read [R, P], and the token of each candidate there [R, P, K]."""
    places = [list(dict.fromkeys(place for place, _, _ in one.asked)) for one in read]
    at = torch.zeros((len(read), max(map(len, places))), dtype=torch.long)
    ask = torch.full((*at.shape, max(one.candidates for one in read)), -1)
    for i, one in enumerate(read):
        at[i] = places[i][-1]
        at[i, : len(places[i])] = torch.tensor(places[i])
        for place, token, k in one.asked:
            ask[i, places[i].index(place), k] = token
    return at, ask


def _run_of(words: Sequence[int], ids: Sequence[int]) -> int | None:
    """Where some tokens begin in a row, the last time that they do."""
    for start in range(len(ids) - len(words), -1, -1):
        if tuple(ids[start : start + len(words)]) == tuple(words):
            return start
    return None
