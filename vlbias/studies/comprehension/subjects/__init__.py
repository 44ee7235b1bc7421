"""Who is asked: a language model, a function, or a model behind the OpenAI chat protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from vlbias.errors import BadModel
from vlbias.studies.comprehension.items import Question
from vlbias.studies.comprehension.parsing import parsed

__all__ = ["Answer", "FunctionSubject", "Subject", "read_answer"]


@dataclass(frozen=True)
class Answer:
    """What a subject said.

    Args:
        text: The answer; empty if there is none.
        status: "ok", or why there is no answer: "unparsable", "timeout", "error".
        raw: What was written, or what went wrong.
    """

    text: str
    status: str = "ok"
    raw: str = ""


class Subject(Protocol):
    """Somebody who answers questions."""

    @property
    def name(self) -> str:
        """Short name for tables."""
        ...

    @property
    def revision(self) -> str:
        """Identity, which enters the key of every cell."""
        ...

    def answers(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer for each question."""
        ...


def read_answer(written: str, parser: str, choices: Sequence[str]) -> Answer:
    """The answer in what was written; unparsable where the parser finds none."""
    found = parsed(written, parser, choices)
    if found is None:
        return Answer("", "unparsable", written)
    return Answer(found, "ok", written)


@dataclass(frozen=True)
class FunctionSubject:
    """A function from a prompt to what is written.

    Args:
        function: Called once for every distinct text.
        name: Short name.
        revision: Give another one when the function changes: cells of the old one are then not used.
        parser: See `vlbias.studies.comprehension.parsing`.
    """

    function: Callable[[str], str]
    name: str
    revision: str
    parser: str = "choice"

    def answers(self, questions: Sequence[Question]) -> list[Answer]:
        """See `Subject.answers`; a timeout of the function is a status, its other errors stop the cell."""
        return [self._answer(question) for question in questions]

    def _answer(self, question: Question) -> Answer:
        try:
            written = self.function(question.text)
        except TimeoutError as error:
            return Answer("", "timeout", str(error))
        if not isinstance(written, str):
            raise BadModel(
                f"{self.name} gave {type(written).__name__} {written!r}, expected a text: let the function "
                "return what is written"
            )
        return read_answer(written, self.parser, question.choices)
