"""What OmDet-Turbo reads: a task, and every class name by itself, laid one behind the other in a row.

The model reads its text encoder twice, once for the tasks and once for all class names of a batch, and
keeps what it gave in a cache. Here the texts of a row are one row of tokens, of which none sees
another text: the encoder runs once, its output has rows first, and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vlbias.causal.detection_readout import even_cuts
from vlbias.causal.example import GroundedText
from vlbias.causal.staged_model import Batch
from vlbias.errors import BadModel, BadStudy
from vlbias.models.grounded import class_counts
from vlbias.models.special_tokens import refuse_special_tokens

__all__ = ["PADDING", "TASK", "TaskReader", "TaskText", "apart"]

PADDING, TASK = -1, 0
RESERVE = 48
"""Tokens kept free for a caption, at most half the limit: where a list of classes is cut must not
depend on the caption."""


@dataclass(frozen=True, slots=True)
class TaskText:
    """One text of the tower.

    Args:
        task: What the model is told to do.
        names: The classes it is asked for, each read by itself.
        first: Number of the first of them.
        classes: How many classes the whole text asks for.
    """

    task: str
    names: tuple[str, ...]
    first: int
    classes: int


@dataclass
class TaskReader:
    """Turns texts into pieces and pieces into token ids with the text each belongs to.

    Args:
        name: Of the model, for messages.
        tokenizer: A CLIP tokenizer.
        limit: Most tokens of one text that the model reads.

    Raises:
        BadModel: if the tokenizer does not end texts in the highest token id, where the model looks
            for the meaning of a class name.
    """

    name: str
    tokenizer: Any
    limit: int
    _cuts: dict[tuple[str, ...], tuple[tuple[int, int], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        end, highest = self.tokenizer.eos_token_id, max(self.tokenizer.get_vocab().values())
        if end != highest:
            raise BadModel(
                f"{self.name}: the tokenizer ends texts in token {end}, the model reads a class name at "
                f"the highest one, {highest}; use the tokenizer the model was trained with"
            )

    def pieces(self, text: str | tuple[str, ...] | GroundedText) -> tuple[TaskText, ...]:
        """One piece, or several where the list of classes does not fit into one task.

        The task is that of the library, "Detect a dog, a cup.", between the words before and after
        the list. A plain text is one class; each text of a tuple is asked for by itself, as if it
        were the only one, since texts of any length do not fit into one task.

        Raises:
            BadStudy: if a class name is empty.
            BadModel: if a class name is too long to stand in a list.
        """
        if isinstance(text, GroundedText):
            return tuple(_piece(text, *cut) for cut in self._cut(text.phrases))
        texts = (text,) if isinstance(text, str) else text
        _refuse_empty(texts)
        grounded = GroundedText("", texts)
        return tuple(_piece(grounded, number, number + 1) for number in range(len(texts)))

    def _cut(self, phrases: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
        if phrases not in self._cuts:
            _refuse_empty(phrases)
            frame = len(self._ids([_task(GroundedText("", ()), ())])[0])
            lengths = [len(ids) - 2 for ids in self._ids([f"{phrase}," for phrase in phrases])]
            room = self.limit - frame - min(RESERVE, self.limit // 2)
            if max(lengths) > room:
                longest = phrases[lengths.index(max(lengths))]
                raise BadModel(
                    f"{self.name}: the class name {longest[:80]!r} has {max(lengths) - 1} tokens, a list "
                    f"beside a caption takes {room - 1}; shorten the name"
                )
            self._cuts[phrases] = even_cuts(lengths, room)
        return self._cuts[phrases]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(list(texts))["input_ids"]
        return ids

    def read(self, pieces: Sequence[TaskText]) -> Batch:
        """Token ids of the texts of R rows, laid one behind the other.

        Returns:
            input_ids, place (in its own text) and text (0 the task, then class by class, negative
            padding) [R, T]; end (last token of a class name) and owner (number of that class) [R, K];
            classes, length, task_length and task_width [R]. Rows of fewer classes repeat their first one.

        Raises:
            BadData: if a text holds a special token.
            BadModel: if a text has too many tokens or a word that the tokenizer does not know, or a
                row asks for another number of classes than its neighbours.
        """
        classes = class_counts(self.name, [piece.classes for piece in pieces])
        rows = [self._checked(piece) for piece in pieces]
        lengths = [[len(ids) for ids in row] for row in rows]
        total = torch.tensor([sum(row) for row in lengths])
        shape, asked = (len(rows), int(total.max())), max(map(len, rows)) - 1
        ids = torch.full(shape, self.tokenizer.eos_token_id)
        place, text = torch.zeros(shape, dtype=torch.long), torch.full(shape, PADDING)
        end, owner = (torch.empty((len(rows), asked), dtype=torch.long) for _ in range(2))
        for row, (piece, texts, parts) in enumerate(zip(pieces, rows, lengths, strict=True)):
            here, size = slice(0, sum(parts)), torch.tensor(parts)
            ids[row, here] = torch.tensor([token for part in texts for token in part])
            place[row, here] = torch.cat([torch.arange(part) for part in parts])
            text[row, here] = torch.arange(len(parts)).repeat_interleave(size)
            end[row], owner[row] = size.cumsum(0)[1] - 1, piece.first
            end[row, : len(parts) - 1] = size.cumsum(0)[1:] - 1
            owner[row, : len(parts) - 1] += torch.arange(len(parts) - 1)
        return {
            **{"input_ids": ids, "place": place, "text": text, "end": end, "owner": owner},
            "classes": classes,
            "length": total,
            "task_length": torch.tensor([row[0] for row in lengths]),
            # a part of the rows is as wide as the whole, which was recorded
            "task_width": torch.full((len(rows),), max(row[0] for row in lengths)),
        }

    def _checked(self, piece: TaskText) -> list[list[int]]:
        texts = (piece.task, *piece.names)
        refuse_special_tokens(self.name, self.tokenizer, texts)
        found = self._ids(texts)
        for number, (text, ids) in enumerate(zip(texts, found, strict=True)):
            kind = "class name" if number else "task"
            if len(ids) > self.limit:
                raise BadModel(
                    f"{self.name}: the {kind} {text[:80]!r}… has {len(ids)} tokens, the model reads "
                    f"{self.limit}; use a shorter caption or a prompt without one"
                )
            # a class name is read at its first such token; in a task it is one word among others
            if number and ids.count(self.tokenizer.eos_token_id) != 1:
                raise BadModel(
                    f"{self.name}: the tokenizer does not know a word of {text[:80]!r}; name the class "
                    "otherwise"
                )
        return found


def apart(text: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask [R, 1, T, T] by which every token sees the earlier ones of its own text.

    Args:
        text: Which text each token belongs to, [R, T].
        dtype: Of the text encoder; the mask is added to its scores.
    """
    seen = (text[:, :, None] == text[:, None, :]).tril()
    mask = torch.zeros(seen.shape, dtype=dtype, device=text.device)
    return mask.masked_fill(~seen, torch.finfo(dtype).min)[:, None]


def _refuse_empty(phrases: Sequence[str]) -> None:
    for phrase in phrases:
        if not phrase.strip():
            raise BadStudy("objects", phrase, "class names that are not empty")


def _task(text: GroundedText, names: Sequence[str]) -> str:
    return f"{text.before}Detect {', '.join(names)}.{text.after}"


def _piece(text: GroundedText, start: int, stop: int) -> TaskText:
    names = text.phrases[start:stop]
    return TaskText(_task(text, names), names, start, len(text.phrases))
