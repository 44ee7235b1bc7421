"""The checked plan of a study of comprehension: its items, made or read, and what may be asked of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vlbias.causal.site import Mediator
from vlbias.causal.staged_model import StagedModel, resolve
from vlbias.data.text_files import files_read
from vlbias.errors import BadStudy
from vlbias.models import outline_model
from vlbias.runs.events import Note, silent
from vlbias.runs.interfaces import Plan
from vlbias.studies.comprehension.generated_items import generated_items
from vlbias.studies.comprehension.items import Item, refuse_items
from vlbias.studies.comprehension.own_items import read_items
from vlbias.studies.comprehension.study import Study

__all__ = ["ComprehensionPlan", "Part", "make_plan", "plan_of_items", "refuse_model"]

_COUNT = 1000
"""Items made by seed where the study does not say how many."""


@dataclass(frozen=True)
class Part:
    """What one cell computes.

    Args:
        step: "answers" or "mediators".
        items: Of which; texts or scenes.
    """

    step: str
    items: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True)
class ComprehensionPlan(Plan):
    """A checked study of comprehension.

    Args:
        study: The study.
        items: In their order.
        mediators: With wildcards resolved.
        rows: Answers that will be written.
        files: See `Plan.files`.
        left_out: Why photos give no item to how many.
    """

    study: Study
    items: tuple[Any, ...]
    mediators: tuple[Mediator, ...] = ()
    rows: int = 0
    files: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def funnel(self) -> str:
        """See `Plan.funnel`."""
        deep, surface = (
            sum(len(getattr(i, arm)) for i in self.items) for arm in ("deep", "surface")
        )
        lines = [
            f"items                    {len(self.items)} of {self.study.task}",
            f"edits                    {deep} deep, {surface} surface",
            *(f"photos without an item   {number}: {why}" for why, number in self.left_out.items()),
        ]
        return "\n".join(lines)

    @property
    def summary(self) -> str:
        """See `Plan.summary`."""
        return f"{len(self.items)} items"

    @property
    def device(self) -> str:
        """See `Plan.device`."""
        return self.study.device

    @property
    def parts(self) -> list[Part]:
        """The cells."""
        size, some = self.study.shard_size, self.items[: self.study.mediated]
        parts = [Part("answers", part) for part in _shards(self.items, size)]
        few = max(1, size // 10)
        if self.mediators:
            parts += [Part("mediators", part) for part in _shards(some, few)]
        return parts

    @property
    def n_parts(self) -> int:
        """See `Plan.n_parts`."""
        return len(self.parts)


def _shards(items: Sequence[Any], size: int) -> list[tuple[Any, ...]]:
    return [tuple(items[start : start + size]) for start in range(0, len(items), size)]


def make_plan(study: Study, note: Note = silent) -> ComprehensionPlan:
    """The plan of a study.

    Args:
        study: The study.
        note: Told what is being done.

    Raises:
        BadData: if items are missing or wrong; names the item.
        BadStudy: if the model cannot be asked so.
        UnknownName: for a model or mediator that does not exist.
        BadModel: if the model's configuration cannot be read.
    """
    note("making the items" if study.path is None else "reading the items")
    plan = plan_of_items(study)
    if study.endpoint is not None:
        return plan
    note("reading the model's outline")
    outline = outline_model(study.model)
    refuse_model(study.model, outline, of_images=study.of_images, answers=study.answers)
    return replace(plan, mediators=tuple(resolve(outline, study.mediators)))


def plan_of_items(study: Study, items: Sequence[Item] | None = None) -> ComprehensionPlan:
    """The plan of a study without mediators, whoever is asked.

    Args:
        study: The study.
        items: In place of those of its task.

    Raises:
        BadData: if items are missing or wrong; names the item.
    """
    if study.of_images and items is None:
        from vlbias.studies.comprehension.image_plan import image_plan

        found, files, left_out = image_plan(study, _COUNT)
        return ComprehensionPlan(study, tuple(found), (), _rows(found), files, left_out)
    with files_read() as read:
        texts = _items(study) if items is None else [*items]
    refuse_items(texts, scored=study.answers == "scored")
    files = {path.name: digest for path, digest in read.items()}
    return ComprehensionPlan(study, tuple(texts), (), _rows(texts), files)


def _rows(items: Sequence[Any]) -> int:
    return sum(1 + len(item.deep) + len(item.surface) for item in items)


def _items(study: Study) -> list[Item]:
    if study.path is not None:
        return list(read_items(study.path)[: study.count])
    count = _COUNT if study.count is None else study.count
    return generated_items(study.task, count, study.seed, edit=study.edit, variants=study.variants)


def _channels(outline: StagedModel) -> set[str]:
    return {channel for tower in outline.towers for channel in tower.channels}


def refuse_model(
    model: str, outline: StagedModel, *, of_images: bool, answers: str = "scored"
) -> None:
    """Nothing, if a model can be asked.

    Args:
        model: As the study names it.
        outline: Of the model.
        of_images: Whether items are images.
        answers: "scored" or "written".

    Raises:
        BadStudy: otherwise.
    """
    if of_images:
        if "class_logits" not in outline.gives or "image" not in _channels(outline):
            raise BadStudy("model", model, "a model that scores classes in an image")
        return
    if _channels(outline) != {"text"}:
        raise BadStudy("model", model, "a language model, or an endpoint that has one")
    layout = getattr(outline, "layout", None)
    if answers == "written" and (layout is None or layout.masked):
        raise BadStudy("answers", answers, '"scored": this model fills masks and writes nothing')
