"""A study of a language model: texts in worlds, and the odds of what may follow them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field

from vlbias.causal.contrast import Contrast
from vlbias.data import TEXTS
from vlbias.data.world import World
from vlbias.errors import UnknownName
from vlbias.runs.study import Frozen, Split, plain_values
from vlbias.studies.arms.study import ArmsStudy

__all__ = ["Study", "TextSet"]


class TextSet(Frozen):
    """Which texts.

    Args:
        name: See `vlbias list texts`.
        path: Where the published files are; without it, the small set that comes with vlbias.
        groups: Which are run.
        options: Of the reader; see `docs/language.md`.
        limit: Only so many texts, chosen by the seed.
    """

    name: str
    path: Path | None = None
    splits: tuple[Split, ...] = ("dev", "test")
    groups: tuple[str, ...] = ("masculine", "feminine")
    options: Annotated[Mapping[str, Any], AfterValidator(plain_values)] = {}
    limit: int | None = Field(None, ge=1)


class Study(ArmsStudy):
    """One run: a language model, texts in worlds, contrasts, mediators, outcomes.

    Args:
        dataset: Which texts.
        random_weights: Seed of random weights in place of the trained ones.
        align: What happens to texts whose worlds have different numbers of tokens: "record" leaves their
            mediators out, "wording" takes the first other wording of the world that has as many; see
            `vlbias.data.texts.Texts`.
    """

    kind: Literal["language"] = "language"
    dataset: TextSet
    outcomes: tuple[str, ...] = ("log-odds",)
    random_weights: int | None = Field(None, ge=0, lt=2**63)
    align: Literal["record", "wording"] = "record"

    def check(self) -> None:
        """See `StudyBase.check`; worlds come with the data, and are checked when they are read."""
        if self.dataset.name not in TEXTS:
            raise UnknownName("data set of texts", self.dataset.name, TEXTS)
        for text in (*self.contrasts, *self.unmediated):
            Contrast.parse(text)

    def relative_to(self, folder: Path) -> Self:
        """See `StudyBase.relative_to`."""
        study = super().relative_to(folder)
        if self.dataset.path is None:
            return study
        path = folder.resolve() / self.dataset.path
        return study.model_copy(update={"dataset": self.dataset.model_copy(update={"path": path})})

    def with_limit(self, limit: int) -> Self:
        """The study of so many texts, under a name that tells it."""
        dataset = self.dataset.model_copy(update={"limit": limit})
        return self.model_copy(update={"dataset": dataset, "name": f"{self.name}-limit{limit}"})

    def keyed(self) -> dict[str, Any]:
        """See `ArmsStudy.keyed`."""
        # studies of texts had keys of photos up to 0.1.0; their values stay in the hash of a cell
        worlds = {"null": asdict(World())} if self._uses("null") else {}
        photos = {"prompt": "template", "worlds": worlds, "regions": {}, "objects": []}
        chosen = {} if self.align == "record" else {"align": self.align}
        return {**super().keyed(), **photos, **chosen}

    def _uses(self, world: str) -> bool:
        return any(world in (pair.base, pair.cf) for pair in self.pairs)
