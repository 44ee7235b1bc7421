"""What plans of studies of facts share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from vlbias.data.fact_files import FactSet
from vlbias.data.gender_labels import funnel_in_lines
from vlbias.runs.interfaces import Plan
from vlbias.runs.study import ModelStudy

__all__ = ["FactPlan"]


class FactPlan(Plan):
    """A plan of facts in a model; subclasses list its cells as `parts`."""

    study: ModelStudy
    facts: FactSet

    @property
    @abstractmethod
    def parts(self) -> Sequence[Any]:
        """What each cell computes."""

    @property
    def funnel(self) -> str:
        """See `Plan.funnel`."""
        return funnel_in_lines(self.facts.meta["funnel"])

    @property
    def device(self) -> str:
        """See `Plan.device`."""
        return self.study.device

    @property
    def n_parts(self) -> int:
        """See `Plan.n_parts`."""
        return len(self.parts)
