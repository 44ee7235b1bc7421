"""A vision-language model as a subject: which object does it find most likely in a scene?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine
from vlbias.causal.example import Example
from vlbias.data.pictograms import OBJECTS
from vlbias.data.prompts import prompt_named
from vlbias.studies.comprehension.scene_items import SceneView
from vlbias.studies.comprehension.subjects import Answer

__all__ = ["SceneSubject"]

_ROWS = 50


@dataclass(frozen=True)
class SceneSubject:
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

    def answers(self, views: Sequence[SceneView]) -> list[Answer]:
        """One answer for each view."""
        prompt, same = prompt_named(self.prompt), Contrast("view", "view")
        engine = Engine(self.model, [same], [], altered={same: frozenset()})
        found: list[Answer] = []
        for start in range(0, len(views), _ROWS):
            examples = [
                Example(str(number), str(number), {"view": view.inputs(prompt)})
                for number, view in enumerate(views[start : start + _ROWS])
            ]
            arm = next(iter(engine.run(examples)))
            best = arm.readout["class_logits"].argmax(1).tolist()
            found += [Answer(tuple(OBJECTS)[place]) for place in best]
        return found
