"""Ways to say through which encoder a bias comes: ours, and what is done in its place."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map

from vlbias.analysis.arm_estimates import Combination
from vlbias.analysis.decomposition import coalition, shapley
from vlbias.analysis.disparity import disparity
from vlbias.analysis.effects import combine
from vlbias.causal.example import channel_key
from vlbias.causal.hooks import replaced_output
from vlbias.causal.staged import Batch, Encoded, StagedModel
from vlbias.studies.arms.plan import Plan
from vlbias.studies.photos.scores import Numbers

__all__ = ["ENCODERS", "MASKED", "METHODS", "PLACEBO", "Job", "Said"]

ENCODERS = ("image_encoder", "text_encoder")
MASKED, PLACEBO = "null->both", "null->placebo-both"
LEVEL = 0.05
LEAST = 0.05
"""Part of the printed number that must fall through an encoder for any method to name it."""
_STEP = 1e-2

Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Job:
    """A model on scenes, measured.

    Args:
        plan: Of the study, with its examples.
        model: Loaded.
        numbers: Of its run.
    """

    plan: Plan
    model: StagedModel
    numbers: Numbers


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
    numbers = job.numbers
    arms = _arms(numbers, MASKED) | {f"placebo {n}": a for n, a in _arms(numbers, PLACEBO).items()}
    shares = shapley(ENCODERS)
    beyond = [
        Combination(
            one.name, {**one.terms, **{f"placebo {arm}": -c for arm, c in one.terms.items()}}
        )
        for one in shares
    ]
    changed, tested = (_combined(numbers, arms, wanted) for wanted in (shares, beyond))
    bias = disparity(
        numbers.panel,
        numbers.null,
        numbers.thresholds,
        rng=numbers.rng(),
        objects=numbers.objects,
        draws=numbers.draws,
        permutations=numbers.draws,
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


def _arms(numbers: Numbers, contrast: str) -> dict[str, Scores]:
    """One arm per set of encoders whose input is from the other world."""
    arms = {coalition([e]): numbers.scores(contrast, "01", e) for e in ENCODERS}
    arms |= {
        "none": numbers.scores(contrast, "00"),
        coalition(ENCODERS): numbers.scores(contrast, "11"),
    }
    return arms


def _combined(numbers: Numbers, arms: Mapping[str, Scores], wanted: Sequence[Combination]) -> Any:
    return combine(
        numbers.panel,
        arms,
        wanted,
        base="none",
        rng=numbers.rng(),
        thresholds=numbers.thresholds,
        functionals=("B_crossfit",),
        objects=numbers.objects,
        draws=numbers.draws,
    )


def percent_change(job: Job) -> list[Said]:
    """Percent change of the plug-in sum of gaps where one encoder gets the masked input.

    No floor, no placebo and no test: an encoder is named if the sum falls by `LEAST` or more.
    """
    numbers = job.numbers
    before = _plugin(numbers, numbers.null)
    found = []
    for encoder in ENCODERS:
        change = _plugin(numbers, numbers.scores(MASKED, "01", encoder)) - before
        found.append(Said(encoder, before, change, change <= -LEAST * before))
    return found


def _plugin(numbers: Numbers, scores: Scores) -> float:
    panel, total = numbers.panel, 0.0
    for k in numbers.objects:
        absent = ~panel.present[:, k]
        positive = scores[:, k] >= numbers.thresholds[k]
        rates = [positive[absent & (panel.group == group)].mean() for group in panel.groups]
        total += float(np.ptp(rates))
    return total


def gradient(job: Job) -> list[Said]:
    """Gradient times difference of an encoder's output: first-order change of the gap of mean scores.

    No floor, no placebo and no test: an encoder is named if it takes `LEAST` or more of the summed
    gap, object by object in the gap's own direction.
    """
    numbers, panel = job.numbers, job.numbers.panel
    where = {sample: row for row, sample in enumerate(panel.sample.tolist())}
    examples = [example for example in job.plan.examples if example.id in where]
    order = [where[example.id] for example in examples]
    group, null = panel.group[order], numbers.null[order]
    masculine, feminine = (group == name for name in panel.groups)
    gap = null[masculine].mean(axis=0) - null[feminine].mean(axis=0)
    printed = float(np.abs(gap).sum())
    found = []
    for encoder, moved in zip(ENCODERS, first_order(job.model, examples), strict=True):
        shift = moved[masculine].mean(axis=0) - moved[feminine].mean(axis=0)
        change = float((np.sign(gap) * shift).sum())
        found.append(Said(encoder, printed, change, change <= -LEAST * printed))
    return found


@torch.inference_mode()
def first_order(model: StagedModel, examples: Sequence[Any], batch: int = 64) -> Scores:
    """Slopes of the class scores along what masking does to the output of each of `ENCODERS`.

    Central differences, since a readout need not be differentiable: the stage of the encoder gives a
    value a little to either side of the base world's, and all behind it runs.

    Args:
        model: With a stage for each encoder.
        examples: In both worlds of `MASKED`, whose tokens line up.
        batch: Examples at a time.

    Returns:
        [encoders, examples, classes].
    """
    parts = []
    for start in range(0, len(examples), batch):
        batches, index = _paired(model, examples[start : start + batch])
        given = _given(model, batches)
        base = {
            tower: {key: value[: len(value) // 2] for key, value in both.items()}
            for tower, both in batches.items()
        }
        slopes = []
        for encoder, output in given.items():
            below, above = (
                _scores(model, base, index, encoder, _moved(output, step))
                for step in (-_STEP, _STEP)
            )
            slopes.append((above - below) / (2 * _STEP))
        parts.append(torch.stack(slopes).numpy())
    return np.concatenate(parts, axis=1)


def _paired(
    model: StagedModel, examples: Sequence[Any]
) -> tuple[dict[str, Batch], dict[str, Tensor]]:
    """Of each tower the distinct rows of the base world, then what masking makes of each of them.

    The index tells which of them each example uses.
    """
    base, _, other = MASKED.partition("->")
    batches, index = {}, {}
    for tower in (one.name for one in model.towers):
        pairs: dict[Hashable, tuple[Any, Any]] = {}
        used = []
        for example in examples:
            sides = (model.split(example.worlds[world])[tower] for world in (base, other))
            own = [(channel_key(pair), pair) for pair in zip(*sides, strict=True)]
            pairs |= dict(own)
            used.append([key for key, _ in own])
        place = {key: number for number, key in enumerate(pairs)}
        rows = [row for side in zip(*pairs.values(), strict=True) for row in side]
        batches[tower] = model.collate(tower, rows)
        index[tower] = torch.tensor([[place[key] for key in keys] for keys in used])
    return batches, index


def _given(model: StagedModel, batches: Mapping[str, Batch]) -> dict[str, Encoded]:
    """What the stage of each of `ENCODERS` gives."""
    modules = {stage.name: stage.module for tower in model.towers for stage in tower.stages}
    given: dict[str, Encoded] = {}
    with ExitStack() as hooks:
        for encoder in ENCODERS:
            module = model.net.get_submodule(modules[encoder])
            keep = partial(given.__setitem__, encoder)
            hooks.callback(
                module.register_forward_hook(lambda _, __, out, keep=keep: keep(out)).remove
            )
        for tower, batch in batches.items():
            model.encode(tower, batch)
    return {encoder: given[encoder] for encoder in ENCODERS}


def _moved(output: Encoded, step: float) -> Encoded:
    """Of rows of the base world and as many of the other the former, moved towards the latter."""

    def moved(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        base, other = leaf.chunk(2)
        return base + step * (other - base) if leaf.is_floating_point() else base.clone()

    return tree_map(moved, output)


def _scores(
    model: StagedModel,
    batches: Mapping[str, Batch],
    index: Mapping[str, Tensor],
    encoder: str,
    output: Encoded,
) -> Tensor:
    """Class scores where the stage of an encoder gives `output`."""
    module = next(s.module for tower in model.towers for s in tower.stages if s.name == encoder)
    with replaced_output(model.net.get_submodule(module), output):
        values = {tower: model.encode(tower, batch) for tower, batch in batches.items()}
    return model.join(values, index)["class_logits"].double()


METHODS: Mapping[str, Callable[[Job], list[Said]]] = {
    "effects": effects,
    "percent change": percent_change,
    "gradient": gradient,
}
"""What can be scored: a measured model to what it says of each encoder."""
