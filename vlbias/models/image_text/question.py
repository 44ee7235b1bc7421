"""How a generative model is asked whether an object is in a photo, and how its answer is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from vlbias.causal.cloze import Cloze
from vlbias.causal.example import GroundedText, Inputs
from vlbias.errors import BadStudy

__all__ = ["Askable", "Question"]

_PLACES = ("{first}", "{second}")


@dataclass(frozen=True, slots=True)
class Question:
    """What stands around a question, and which answers count.

    The score of a class is the logarithm of the odds of the first answer against the second, each answer
    length-normalised; free text is never generated.

    Args:
        answers: That it is there, and that it is not.
        order: Which of the two the instruction names first.
        instruction: What follows the question, with the places `{first}` and `{second}`; "" for nothing.
        template: Whether the model's chat template is put around the question, or the image's token alone.

    Raises:
        BadStudy: if the answers are no two texts, or the instruction has other places.
    """

    answers: tuple[str, str] = ("yes", "no")
    order: Literal["as given", "reversed"] = "as given"
    instruction: str = "Answer {first} or {second}."
    template: Literal["chat", "plain"] = "chat"

    def __post_init__(self) -> None:
        distinct = {answer.strip() for answer in self.answers}
        if len(self.answers) != 2 or len(distinct) != 2 or "" in distinct:
            raise BadStudy(
                "question.answers", self.answers, "two different answers, such as yes and no"
            )
        counts = [self.instruction.count(place) for place in _PLACES]
        if self.instruction and counts != [1, 1]:
            expected = "a text with {first} and {second} once each, or an empty one"
            raise BadStudy("question.instruction", self.instruction, expected)

    def asked(self, text: str | tuple[str, ...] | GroundedText) -> tuple[Cloze, ...]:
        """The question of every class, or the only one.

        Raises:
            BadStudy: if the text lists all its classes: a question asks for one.
        """
        if isinstance(text, GroundedText):
            expected = "one text per class ('{object}' in it), such as the prompt 'question'"
            raise BadStudy("prompt", str(text)[:80], expected)
        return tuple(self._asked(one) for one in (text if isinstance(text, tuple) else (text,)))

    def _asked(self, text: str) -> Cloze:
        first, second = self.answers if self.order == "as given" else self.answers[::-1]
        instruction = self.instruction.replace(_PLACES[0], first).replace(_PLACES[1], second)
        return Cloze(f"{text.strip()} {instruction}".strip(), self.answers)


@runtime_checkable
class Askable(Protocol):
    """A model that answers questions on photos."""

    question: Question

    def asking(self, question: Question) -> Any:
        """The same model, asked in another way."""
        ...

    def refuse_inputs(self, inputs: Iterable[Inputs]) -> None:
        """Nothing, if it can read every photo and text."""
        ...
