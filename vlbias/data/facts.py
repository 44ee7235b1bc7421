"""Facts that a language model may know: a subject, a prompt that names it, and the answer."""

from __future__ import annotations

from dataclasses import dataclass

from vlbias.errors import BadData

__all__ = ["Fact"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact.

    Args:
        id: Unique and stable.
        subject: What the fact is about, as it is written in the prompt.
        prompt: The text before the answer, without a space at its end.
        answer: The answer, one token of a model or several.
        group: Set of facts that it belongs to; may be empty.
        target: Another answer, which an edit writes; may be empty.
        paraphrases: Other prompts with the same answer.
        neighbours: Prompts about other subjects, with their answers, which an edit should leave alone.
        task: Task of an evaluation that it belongs to, as LUME has three; may be empty.
        passage: Whether the prompt begins a passage and the answer is its rest: what a model writes is then
            compared by its longest common subsequence (regurgitation), and else as a whole (knowledge).

    Raises:
        BadData: if the subject does not stand in the prompt, or a text is empty.
    """

    id: str
    subject: str
    prompt: str
    answer: str
    group: str = ""
    target: str = ""
    paraphrases: tuple[str, ...] = ()
    neighbours: tuple[tuple[str, str], ...] = ()
    task: str = ""
    passage: bool = False

    def __post_init__(self) -> None:
        for name in ("id", "subject", "prompt", "answer"):
            text = getattr(self, name)
            if not text or text != text.strip():
                raise BadData(
                    f"fact {self.id!r}: {name} is {text!r}, expected words without space at the ends"
                )
        if self.subject not in self.prompt:
            raise BadData(
                f"fact {self.id!r}: the subject {self.subject!r} does not stand in the prompt "
                f"{self.prompt!r}; write it as it is spelt there"
            )
        if self.target == self.answer:
            raise BadData(
                f"fact {self.id!r}: the target is the answer {self.answer!r}; give another one"
            )

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompt and its paraphrases."""
        return (self.prompt, *self.paraphrases)

    @property
    def place(self) -> tuple[int, int]:
        """First and one past the last character of the subject in the prompt, where it stands last."""
        start = self.prompt.rindex(self.subject)
        return start, start + len(self.subject)
