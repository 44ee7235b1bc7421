"""A vision-language model as a subject: which object does it find most likely in an image?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine
from vlbias.causal.example import Example
from vlbias.data.prompts import prompt_named
from vlbias.studies.comprehension.image_views import ImageQuestion
from vlbias.studies.comprehension.subjects import Answer

__all__ = ["ImageSubject"]

_ROWS = 50


@dataclass(frozen=True)
class ImageSubject:
    """A model that scores classes; its answer is the object of highest score.

    Args:
        model: With a tower for images and one for texts, or both in one.
        prompt: Name of the prompt; see `vlbias list prompts`.
    """

    model: Any
    prompt: str

    @property
    def name(self) -> str:
        """Of the model."""
        return str(self.model.name)

    @property
    def revision(self) -> str:
        """Of the weights, and the prompt."""
        return f"{self.model.revision} {self.prompt}"

    def answers(self, questions: Sequence[ImageQuestion]) -> list[Answer]:
        """One answer for each question; all have the same choices."""
        prompt, same = prompt_named(self.prompt), Contrast("view", "view")
        engine = Engine(self.model, [same], [], altered={same: frozenset()})
        found: list[Answer] = []
        for start in range(0, len(questions), _ROWS):
            few = questions[start : start + _ROWS]
            examples = [
                Example(str(n), str(n), {"view": asked.view.inputs(prompt, asked.choices)})
                for n, asked in enumerate(few)
            ]
            best = next(iter(engine.run(examples))).readout["class_logits"].argmax(1).tolist()
            found += [Answer(asked.choices[n]) for asked, n in zip(few, best, strict=True)]
        return found
