"""The cells of a study of a language model: worlds aligned, units screened, arms run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from vlbias.causal.example import Example
from vlbias.causal.staged_model import Readout
from vlbias.models import load_model
from vlbias.models.image_text.question import Askable
from vlbias.outcomes import OUTCOMES
from vlbias.runs.events import QUIET, Events, Note, silent
from vlbias.studies.arms.plan import ArmsPlan
from vlbias.studies.arms.racing import Racer
from vlbias.studies.arms.screening import screened
from vlbias.studies.arms.timing import timed
from vlbias.studies.arms.work import ArmsWork
from vlbias.studies.language.numbers.racing import log_odds_changes
from vlbias.studies.language.study import Study
from vlbias.studies.language.token_alignment import worded

__all__ = ["Work", "estimate"]


class Work(ArmsWork[Study]):
    """See `ArmsWork`.

    Args:
        plan: The study.
        folder: The run folder; what screening found is kept there.
        note: Told what is being done.
    """

    def __init__(self, plan: ArmsPlan[Study], folder: Path, note: Note = silent) -> None:
        self.study, self.note = plan.study, note
        model = _model_of(self.study)
        if isinstance(model, Askable):
            model.refuse_inputs(inputs for e in plan.examples for inputs in e.worlds.values())
        plan, self._wordings = worded(plan, model)
        plan, self._screening = screened(
            plan, plan.examples, folder, model, note, score=lambda pair: log_odds
        )
        super().__init__(plan, folder, model)

    def make_racer(self) -> Racer | None:
        """See `ArmsWork.make_racer`."""
        if self.study.racing is None:
            return None
        return Racer(
            *(self.plan, self.folder, self.model, log_odds_changes, lambda run, pair: log_odds),
            self.note,
        )

    def keyed(self) -> Mapping[str, Any]:
        """See `ArmsWork.keyed`."""
        return self.study.keyed()

    def determined_by(self) -> dict[str, Any]:
        """See `ArmsWork.determined_by`."""
        return super().determined_by() | self._wordings

    def manifest(self) -> dict[str, Any]:
        """See `Work.manifest`."""
        return super().manifest() | self._wordings | self._screening

    def choices(self) -> Mapping[str, str]:
        """See `ArmsWork.choices`."""
        return {
            "probability of several tokens": "geometric mean of the tokens' probabilities",
            "effect": "mean over samples of y / y(null) - 1, with median and geometric mean beside it",
            "special tokens": "where the model's own tokenizer puts them",
            "words of several tokens": (
                "kept; mediators are misaligned where the worlds' lengths differ"
                if self.study.align == "record"
                else "kept; another wording of as many tokens stands in the other world where there is one"
            ),
            "attention": "one plain softmax attention for every number, so that its weights can be replaced",
            "filter": "shown beside the unfiltered numbers, never alone",
            **{key: str(value) for key, value in self.study.dataset.options.items()},
        }


def estimate(plan: ArmsPlan[Study], events: Events = QUIET) -> Iterator[str]:
    """What a run would take, line by line."""
    yield from timed(Work, plan, events)


def log_odds(readout: Readout, examples: Sequence[Example]) -> Tensor:
    """[B] log-odds of the first candidate against the second."""
    score = readout["candidate_score"]
    return score[:, 0] - score[:, 1]


def _model_of(study: Study) -> Any:
    model: Any = load_model(
        study.model, device=study.device, dtype=study.dtype, random=study.random_weights
    )
    needs = {key for name in study.outcomes for key in OUTCOMES.load(name)(()).needs}
    return model.scores_only() if needs == {"candidate_score"} else model
