"""Ways to say through which encoder a bias comes: ours, and what is done in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlbias.analysis.arm_estimates import Combination
from vlbias.analysis.disparity import disparity
from vlbias.analysis.effects import combine
from vlbias.analysis.shapley import coalition, shapley
from vlbias.causal.example import Example
from vlbias.causal.staged_model import StagedModel
from vlbias.studies.photos.scores import PresenceScores
from vlbias.studies.planted.first_order import first_order
from vlbias.studies.planted.plants import ENCODERS, MASKED, PLACEBO

__all__ = ["METHODS", "Job", "Said"]

LEVEL = 0.05
LEAST = 0.05
"""Part of the printed number that must fall through an encoder for any method to name it."""

Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Job:
    """A model on scenes, measured.

    Args:
        examples: Scenes in their worlds.
        model: Loaded.
        scores: Of its run.
    """

    examples: Sequence[Example]
    model: StagedModel
    scores: PresenceScores


@dataclass(frozen=True)
class Said:
    """What a method says of one encoder.

    Args:
        encoder: Which.
        printed: The number whose cause is asked for, before anything is done.
        change: Of it, through the encoder.
        named: Whether the method says that the bias comes through it.
    """

    encoder: str
    printed: float
    change: float
    named: bool


def effects(job: Job) -> list[Said]:
    """The engine's effects: cross-fit B, shares of both orders, against a placebo, with a test.

    An encoder is named if B stands out of its noise floor, and if B falls through the encoder, by
    `LEAST` or more, and by more than it does under the placebo: both by tests over the two encoders.
    """
    scores = job.scores
    arms = _arms(scores, MASKED) | {f"placebo {n}": a for n, a in _arms(scores, PLACEBO).items()}
    shares = shapley(ENCODERS)
    beyond = [
        Combination(
            one.name, {**one.terms, **{f"placebo {arm}": -c for arm, c in one.terms.items()}}
        )
        for one in shares
    ]
    changed, tested = (_combined(scores, arms, wanted) for wanted in (shares, beyond))
    bias = disparity(
        scores.panel,
        scores.null,
        scores.thresholds,
        rng=scores.rng(),
        objects=scores.objects,
        draws=scores.draws,
        permutations=scores.draws,
    )
    return [
        Said(
            encoder,
            float(bias.crossfit),
            float(change["estimate"]),
            bool(
                bias.p < LEVEL
                and change["estimate"] <= -LEAST * bias.crossfit
                and all(one["estimate"] < 0 and one["p_adjusted"] < LEVEL for one in (change, over))
            ),
        )
        for encoder, (_, change), (_, over) in zip(
            ENCODERS, changed.iterrows(), tested.iterrows(), strict=True
        )
    ]


def _arms(scores: PresenceScores, contrast: str) -> dict[str, Scores]:
    """One arm per set of encoders whose input is from the other world."""
    arms = {coalition([e]): scores.scores(contrast, "01", e) for e in ENCODERS}
    arms |= {
        "none": scores.scores(contrast, "00"),
        coalition(ENCODERS): scores.scores(contrast, "11"),
    }
    return arms


def _combined(
    scores: PresenceScores, arms: Mapping[str, Scores], wanted: Sequence[Combination]
) -> Any:
    return combine(
        scores.panel,
        arms,
        wanted,
        base="none",
        rng=scores.rng(),
        thresholds=scores.thresholds,
        functionals=("B_crossfit",),
        objects=scores.objects,
        draws=scores.draws,
    )


def percent_change(job: Job) -> list[Said]:
    """Percent change of the plug-in sum of gaps where one encoder gets the masked input.

    No floor, no placebo and no test: an encoder is named if the sum falls by `LEAST` or more.
    """
    scores = job.scores
    before = _plugin(scores, scores.null)
    found = []
    for encoder in ENCODERS:
        change = _plugin(scores, scores.scores(MASKED, "01", encoder)) - before
        found.append(Said(encoder, before, change, change <= -LEAST * before))
    return found


def _plugin(scores: PresenceScores, arm: Scores) -> float:
    panel, total = scores.panel, 0.0
    for k in scores.objects:
        absent = ~panel.present[:, k]
        positive = arm[:, k] >= scores.thresholds[k]
        rates = [positive[absent & (panel.group == group)].mean() for group in panel.groups]
        total += float(np.ptp(rates))
    return total


def gradient(job: Job) -> list[Said]:
    """Gradient times difference of an encoder's output: first-order change of the gap of mean scores.

    No floor, no placebo and no test: an encoder is named if it takes `LEAST` or more of the summed
    gap, object by object in the gap's own direction.
    """
    scores, panel = job.scores, job.scores.panel
    where = {sample: row for row, sample in enumerate(panel.sample.tolist())}
    examples = [example for example in job.examples if example.id in where]
    order = [where[example.id] for example in examples]
    group, null = panel.group[order], scores.null[order]
    masculine, feminine = (group == name for name in panel.groups)
    gap = null[masculine].mean(axis=0) - null[feminine].mean(axis=0)
    printed = float(np.abs(gap).sum())
    found = []
    for encoder, moved in zip(ENCODERS, first_order(job.model, examples), strict=True):
        shift = moved[masculine].mean(axis=0) - moved[feminine].mean(axis=0)
        change = float((np.sign(gap) * shift).sum())
        found.append(Said(encoder, printed, change, change <= -LEAST * printed))
    return found


METHODS: Mapping[str, Callable[[Job], list[Said]]] = {
    "effects": effects,
    "percent change": percent_change,
    "gradient": gradient,
}
"""What can be scored: a measured model to what it says of each encoder."""
