"""A language model as a subject: it scores the choices, or writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from vlbias.causal.cloze import Cloze
from vlbias.studies.comprehension.items import Question
from vlbias.studies.comprehension.subjects import Answer, read_answer

__all__ = ["ScoringSubject", "WritingSubject"]

_ROWS = 64
_LONGEST = 24
"""New tokens of a written answer."""


@dataclass(frozen=True)
class ScoringSubject:
    """A language model that chooses the most probable of the choices.

    The probability of a choice of several tokens is the geometric mean of its tokens' probabilities, each
    given the ones before it.

    Args:
        model: A language model that gives candidate scores.
    """

    model: Any

    @property
    def name(self) -> str:
        """Of the model."""
        return str(self.model.name)

    @property
    def revision(self) -> str:
        """Of the weights."""
        return str(self.model.revision)

    def answers(self, questions: Sequence[Question]) -> list[Answer]:
        """See `Subject.answers`."""
        scores = self.scores(questions)
        return [
            Answer(question.choices[int(row.argmax())], "ok", "")
            for question, row in zip(questions, scores, strict=True)
        ]

    def scores(self, questions: Sequence[Question]) -> list[torch.Tensor]:
        """Score of each choice of each question, by which they are compared."""
        tower = self.model.towers[0].name
        wanted = [
            self.model.split({"text": Cloze(question.text, question.choices)})[tower]
            for question in questions
        ]
        rows = list(dict.fromkeys(row for some in wanted for row in some))
        rows.sort(key=lambda row: len(row.cloze.text))
        given: dict[Any, torch.Tensor] = {}
        with torch.inference_mode():
            for part in _parts(rows, _ROWS):
                encoded = self.model.encode(tower, self.model.collate(tower, part))
                given |= zip(part, encoded.double().cpu(), strict=True)
        return [
            torch.stack([given[row][place] for place, row in enumerate(some)]) for some in wanted
        ]


@dataclass(frozen=True)
class WritingSubject:
    """A causal language model that writes, the most probable token each time, up to the end of a line.

    Args:
        model: A causal language model.
        parser: See `vlbias.studies.comprehension.parsing`.
    """

    model: Any
    parser: str

    @property
    def name(self) -> str:
        """Of the model."""
        return str(self.model.name)

    @property
    def revision(self) -> str:
        """Of the weights."""
        return str(self.model.revision)

    def answers(self, questions: Sequence[Question]) -> list[Answer]:
        """See `Subject.answers`."""
        written: dict[str, str] = {}
        for part in _parts(sorted({question.text for question in questions}, key=len), _ROWS):
            written |= zip(part, self._continued(part), strict=True)
        return [read_answer(written[q.text], self.parser, q.choices) for q in questions]

    def _continued(self, texts: Sequence[str]) -> list[str]:
        begun = [self.model.tokens(text) for text in texts]
        new: list[list[int]] = [[] for _ in texts]
        going = list(range(len(texts)))
        for _ in range(_LONGEST):
            ids = [[*begun[place], *new[place]] for place in going]
            following = self.model.next_token_logits(ids).argmax(1).tolist()
            for place, token in zip(going, following, strict=True):
                new[place].append(token)
            going = [p for p in going if "\n" not in self.model.text_of(new[p]).lstrip()]
            if not going:
                break
        return [self.model.text_of(ids).lstrip().split("\n")[0] for ids in new]


def _parts(values: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
