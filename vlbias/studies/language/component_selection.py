"""Which components carry an effect together: best singles, and greedy search (Vig et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from vlbias.causal.contrast import Contrast
from vlbias.causal.engine import Engine, altered_channels
from vlbias.causal.example import Example
from vlbias.causal.site import Mediator
from vlbias.causal.staged_model import StagedModel, resolve
from vlbias.errors import BadStudy

__all__ = ["rank_components", "select_components"]


def rank_components(
    model: StagedModel,
    examples: Sequence[Example],
    components: Sequence[str | Mediator],
    *,
    contrast: str,
    batch_size: int = 16,
    mediator_batch: int = 256,
) -> pd.Series[float]:
    """Single indirect effects (mean over examples of y01 / y00 - 1), largest first.

    Args:
        model: A language model.
        examples: Texts; those with misaligned worlds are left out.
        components: Sites with wildcards.
        contrast: "base->other".
        batch_size: Examples at a time.
        mediator_batch: Jobs that run as one batch.

    Returns:
        Name of the component to effect.
    """
    parts = resolve(model, components)
    found = _indirect(model, examples, parts, contrast, (batch_size, mediator_batch))
    ranked = pd.Series(found, index=[part.name for part in parts], dtype=float)
    return ranked.sort_values(ascending=False, kind="stable")


def select_components(
    model: StagedModel,
    examples: Sequence[Example],
    components: Sequence[str | Mediator],
    *,
    contrast: str,
    most: int,
    method: Literal["top-k", "greedy"] = "greedy",
    ranked: pd.Series[float] | None = None,
    batch_size: int = 16,
    mediator_batch: int = 256,
) -> pd.DataFrame:
    """The joint indirect effect of growing sets of components.

    "top-k" ranks components by their single effects once and adds them in that order; "greedy" adds in
    every step the one whose joint effect with those chosen is largest, which takes a sweep a step. Every
    effect is that of replacing the whole set at once, never a sum. Greedy is no exact search: components
    that work only together are not found.

    Args:
        model: A language model.
        examples: Texts; those with misaligned worlds are left out.
        components: Sites with wildcards, such as "lm/weights.*[*]@prompt".
        contrast: "base->other".
        most: Size of the largest set.
        method: How the set grows.
        ranked: What `rank_components` gave for the same components; computed if not given.
        batch_size: Examples at a time.
        mediator_batch: Jobs that run as one batch.

    Returns:
        Columns k, added, joint (mean over examples of y01 / y00 - 1), sum_of_singles and all, the joint
        effect of every component at once.

    Raises:
        BadStudy: if there are fewer components than `most`, or the method is none of the two.
    """
    parts = resolve(model, components)
    if not 0 < most <= len(parts):
        raise BadStudy("most", most, f"a number from 1 to {len(parts)}, the number of components")
    if method not in ("top-k", "greedy"):
        raise BadStudy("method", method, "'top-k' or 'greedy'")

    def effects(sets: Sequence[Sequence[Mediator]]) -> list[float]:
        joint = [
            Mediator(str(number), tuple(site for part in members for site in part.sites))
            for number, members in enumerate(sets)
        ]
        return _indirect(model, examples, joint, contrast, (batch_size, mediator_batch))

    if ranked is None:
        sizes = {"batch_size": batch_size, "mediator_batch": mediator_batch}
        ranked = rank_components(model, examples, parts, contrast=contrast, **sizes)
    singles = [float(ranked[part.name]) for part in parts]
    (everything,) = effects([parts])
    order = [int(i) for i in np.argsort([-value for value in singles], kind="stable")]
    chosen: list[int] = order[:1]
    joint = [singles[order[0]]]
    if method == "top-k":
        chosen = order[:most]
        joint += effects([[parts[i] for i in chosen[:k]] for k in range(2, most + 1)])
    while len(chosen) < most:
        left = [i for i in range(len(parts)) if i not in chosen]
        found = effects([[parts[j] for j in (*chosen, i)] for i in left])
        best = int(np.argmax(found))
        chosen.append(left[best])
        joint.append(found[best])
    return pd.DataFrame(
        {
            "k": range(1, most + 1),
            "added": [parts[i].name for i in chosen],
            "joint": joint,
            "sum_of_singles": np.cumsum([singles[i] for i in chosen]),
            "all": everything,
        }
    )


def _indirect(
    model: StagedModel,
    examples: Sequence[Example],
    mediators: Sequence[Mediator],
    contrast: str,
    sizes: tuple[int, int],
) -> list[float]:
    """Mean over examples of the odds y01 / y00 - 1 of each mediator; the first candidate to the second."""
    if not mediators:
        return []
    pair = Contrast.parse(contrast)
    altered = altered_channels(examples, [pair])
    engine = Engine(model, [pair], mediators, altered=altered, mediator_batch=sizes[1])
    total, count = np.zeros(len(mediators)), 0
    for start in range(0, len(examples), sizes[0]):
        arms = {
            (arm.mediator, arm.arm): arm.readout["candidate_score"].numpy()
            for arm in engine.run(examples[start : start + sizes[0]])
        }
        odds = {key: score[:, 0] - score[:, 1] for key, score in arms.items()}
        base = odds["", "00"]
        changes = np.array([odds[mediator.name, "01"] - base for mediator in mediators])
        aligned = ~np.isnan(changes).any(0)
        total += np.expm1(changes[:, aligned]).sum(1)
        count += int(aligned.sum())
    if not count:
        raise BadStudy("examples", len(examples), "texts whose worlds have equally many tokens")
    return [float(value) for value in total / count]
