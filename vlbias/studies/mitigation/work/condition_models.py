"""The model under every condition, with what the conditions share encoded once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel
from vlbias.mitigations.base import Fitted, Mitigation
from vlbias.studies.mitigation.conditions import Condition, Fit, Part
from vlbias.studies.mitigation.plan import MitigationPlan
from vlbias.studies.mitigation.retrieval_texts import is_dual
from vlbias.studies.mitigation.work.affected_stages import (
    acts_on_outputs,
    changed_stages,
    unchanged_towers,
)
from vlbias.studies.mitigation.work.cached_towers import CachedTowers
from vlbias.studies.mitigation.work.passes import Known, nulls
from vlbias.studies.mitigation.work.stage_cache import StageCache

__all__ = ["ConditionModels"]


class ConditionModels:
    """A model and everything that was fitted to it.

    Args:
        plan: The study.
        model: Unmitigated.
        fitted: Every fit, by what it is.
    """

    def __init__(
        self, plan: MitigationPlan, model: StagedModel, fitted: Mapping[Fit, Fitted]
    ) -> None:
        self.plan, self.model, self.fitted = plan, model, fitted
        batch = plan.study.mitigation.batch
        self._cached = CachedTowers(model, batch) if is_dual(model) else None
        self._stages = StageCache(model)
        self._known: Known = {}

    def encode_shared(self, parts: Sequence[Part]) -> None:
        """Encode once, as the model is, the rows of every split that several cells can use."""
        if self._cached is None:
            return  # other models encode photo and text together
        wanted = any(self._shares(part.condition.fit) for part in parts if part.kind == "scores")
        # all splits or none, in one order: then rows are always encoded in the same batches
        for split, asked in self.plan.asked.items() if wanted else ():
            self._cached.add(nulls(self.plan.split[split]), asked.texts)
        self._known = {tower.name: self._cached.known(tower.name) for tower in self.model.towers}

    def applied(self, condition: Condition) -> AbstractContextManager[StagedModel]:
        """A context that gives the model of a condition."""
        if condition.fit is None:
            return nullcontext(self.model)
        return self.fitted[condition.fit].applied(self.model, condition.strength)

    @contextmanager
    def for_scores(self, condition: Condition) -> Iterator[StagedModel]:
        """As `applied`, but what the mitigation leaves alone is not encoded a second time."""
        mitigation = self.mitigation(condition.fit)
        stages = self._stages.used(changed_stages(mitigation, self.model))
        with self._on_outputs(condition) or self.applied(condition) as model, stages:
            yield model

    def known(self, fit: Fit | None) -> Known:
        """Rows that a condition encodes as the model as it is does."""
        unchanged = unchanged_towers(self.mitigation(fit), self.model)
        return {tower: self._known[tower] for tower in unchanged if tower in self._known}

    def mitigation(self, fit: Fit | None) -> Mitigation | None:
        """What was fitted, with its settings; None for the model as it is."""
        return None if fit is None else self.fitted[fit].mitigation

    def unusable(self, fit: Fit | None, examples: Sequence[Example]) -> Mapping[str, str]:
        """Ids of the photos that a method cannot be used on, and why."""
        mitigation = self.mitigation(fit)
        return {} if mitigation is None else mitigation.unusable(examples)

    def _on_outputs(self, condition: Condition) -> AbstractContextManager[StagedModel] | None:
        """The model of a condition from what was encoded before, if only towers' outputs change."""
        fit = condition.fit
        if fit is None or self._cached is None or not self._acts_on_outputs(fit):
            return None
        return self.fitted[fit].applied(self._cached, condition.strength)

    def _acts_on_outputs(self, fit: Fit) -> bool:
        return acts_on_outputs(self.fitted[fit].mitigation, self.model)

    def _shares(self, fit: Fit | None) -> bool:
        spared = unchanged_towers(self.mitigation(fit), self.model)
        return bool(spared) or (fit is not None and self._acts_on_outputs(fit))
