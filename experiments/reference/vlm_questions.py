"""What is asked about photos in training: objects that are there and are not, and captions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from reference.photos import Photo
from reference.vlm import Branch

from vlbias.data.prompts import prompt_named
from vlbias.models.image_text.question import Question
from vlbias.models.image_text.tokens import PromptReader

__all__ = ["WORDINGS", "Asker"]

WORDINGS = ("question", "question-see", "question-contain", "question+person")
DESCRIBE = "Describe this photo."
END = "<|im_end|>"


class Asker:
    """Turns questions into branches, in the tokens in which vlbias asks them.

    Args:
        processor: Of the model.
        categories: Names of the classes.
    """

    def __init__(self, processor: Any, categories: Sequence[str]) -> None:
        self._processor, self._tokenizer = processor, processor.tokenizer
        self.categories = tuple(categories)
        self._reader = PromptReader(
            processor, template="chat", sets_image=False, parted=False, name="reference-vlm"
        )
        self._image = self._tokenizer.convert_tokens_to_ids(processor.image_token)
        self.head, self._describe = self._split(self._chat(DESCRIBE))
        self.presence = cache(self._presence)

    def _chat(self, text: str) -> str:
        content = [{"type": "image"}, {"type": "text", "text": text}]
        said = [{"role": "user", "content": content}]
        return str(
            self._processor.apply_chat_template(said, add_generation_prompt=True, tokenize=False)
        )

    def _split(self, text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Tokens before and behind the photo's."""
        ids = self._tokenizer(text)["input_ids"]
        at = ids.index(self._image)
        return tuple(ids[:at]), tuple(ids[at + 1 :])

    def _presence(self, wording: str, gender: str) -> tuple[tuple[Branch, Branch], ...]:
        """Of every class the question whether it is there, answered yes and answered no."""
        texts = prompt_named(wording).texts((), gender, self.categories)
        made = []
        for cloze in Question().asked(texts):
            prompt = self._reader(cloze)
            asked = self._split(prompt.text)[1]
            yes, no = (Branch(asked, piece) for piece in prompt.pieces)
            made.append((yes, no))
        return tuple(made)

    def caption(self, text: str) -> Branch:
        """The request for a description, answered by a caption."""
        answer = self._tokenizer(text + END, add_special_tokens=False)["input_ids"]
        return Branch(self._describe, tuple(answer))

    def drawn(
        self,
        photo: Photo,
        shown: np.ndarray,
        pairs: int,
        often: np.ndarray,
        rng: np.random.Generator,
    ) -> list[Branch]:
        """Objects that are there, as many that are not, and a caption.

        Both are drawn with the weight that a class has among those that are there, so that no class
        is answered by yes, or by no, more often than another as such.

        Args:
            photo: The photo.
            shown: Classes in the view.
            pairs: Most questions of either answer.
            often: [classes] share of photos with each.
            rng: Source of all draws.
        """
        there = np.isin(np.arange(len(often)), shown)
        # what the photo holds outside of the view is neither there nor not there
        away = ~np.isin(np.arange(len(often)), photo.classes)
        weight = np.where(there, 1 / np.sqrt(often + 0.01), often / np.sqrt(often + 0.01))
        chances = [np.where(kind, weight, 0.0) for kind in (there, away)]
        many = min(pairs, *(int((chance > 0).sum()) for chance in chances))
        found = []
        for answer, chance in enumerate(chances if many else ()):
            for k in rng.choice(len(chance), many, replace=False, p=chance / chance.sum()):
                wording = WORDINGS[rng.integers(len(WORDINGS))]
                found.append(self.presence(wording, photo.gender)[k][answer])
        return [*found, self.caption(photo.captions[rng.integers(len(photo.captions))])]
