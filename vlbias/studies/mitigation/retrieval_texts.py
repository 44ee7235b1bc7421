"""Texts that photos are compared with beside the class prompts: captions for retrieval, and queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel
from vlbias.data.prompts import prompt_named, set_word
from vlbias.data.table import Dataset
from vlbias.studies.mitigation.study import Study

__all__ = ["ComparisonTexts", "comparison_texts", "is_dual"]


@dataclass(frozen=True)
class ComparisonTexts:
    """Texts that the photos of a split are compared with, beside the class prompts.

    Args:
        captions: One for every photo, in their order; empty where there is no retrieval.
        queries: Group to a text that asks for it; empty where none is asked.
    """

    captions: tuple[str, ...] = ()
    queries: Mapping[str, str] | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """All of them in order."""
        return (*self.captions, *(self.queries or {}).values())


def is_dual(model: StagedModel) -> bool:
    """Whether any text can be compared with any photo: one tower for each, and scores per text."""
    channels = sorted(tower.channels for tower in model.towers)
    return channels == [("image",), ("text",)] and "class_logits" in model.gives


def comparison_texts(
    study: Study, dataset: Dataset, examples: Sequence[Example], outline: StagedModel
) -> ComparisonTexts:
    """The captions of some photos and the queries for their groups; none if a model cannot compare them."""
    if not is_dual(outline) or dataset.frame.empty:
        return ComparisonTexts()
    captions = dict(zip(dataset.frame["id"], dataset.frame["captions"], strict=True))
    # the first caption is never read for the label; photos of one's own may have none
    own = tuple(
        " ".join(captions[e.id][0].split()) if len(captions[e.id]) else "" for e in examples
    )
    prompt = prompt_named(study.prompt)
    groups = [group for group in study.dataset.groups if group in prompt.words]
    queries = {
        group: set_word("a photo of a {person}", "{person}", prompt.word(group)) for group in groups
    }
    return ComparisonTexts(own if all(own) else (), queries if len(queries) > 1 else None)
