"""Cumulative ablation: heads of highest score silenced together, against controls of as many heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlbias.studies.symbolic.head_types import HEAD_TYPES, LAST, THIRD, HeadType
from vlbias.studies.symbolic.prompts import Prompt
from vlbias.studies.symbolic.recording import silenced_heads
from vlbias.studies.symbolic.solving import Drawer
from vlbias.studies.symbolic.study import Study

__all__ = ["ablation_rows", "tokens_of_site"]

Head = tuple[int, int]


def tokens_of_site(site: str, study: Study, begin: int) -> list[int]:
    """Positions of a set of tokens in prompts of a study."""
    format = study.format
    places = {
        THIRD: [format.third(k) for k in range(format.shots)],
        LAST: [format.tokens - 1],
    }[site]
    return [begin + place for place in places]


def ablation_rows(
    drawer: Drawer, prompts: Sequence[Prompt], scores: Mapping[str, NDArray[Any]]
) -> Iterator[dict[str, Any]]:
    """Accuracy and probability of the answer with heads silenced: one row a type, number of heads and arm.

    Args:
        drawer: Of the study.
        prompts: Solved, and not used for scores.
        scores: Name of a type of heads to mean scores [layers, heads].
    """
    study = drawer.study
    rng = np.random.default_rng([study.seed, 4])
    yield {"type": "none", "heads": 0, "arm": "none", "draw": 0, **_measured(drawer, prompts)}
    for kind in HEAD_TYPES:
        for count in study.ablation:
            for arm, draw, heads in _arms(scores[kind.name], count, study.ablation_draws, rng):
                found = _silenced(drawer, prompts, kind, heads)
                yield {"type": kind.name, "heads": count, "arm": arm, "draw": draw, **found}


def _arms(
    scores: NDArray[Any], count: int, draws: int, rng: np.random.Generator
) -> Iterator[tuple[str, int, list[Head]]]:
    """Heads of highest score, those of lowest score in the same layers, and random ones."""
    every = [(int(layer), int(head)) for layer, head in np.ndindex(*scores.shape)]
    ranked = sorted(every, key=lambda place: -scores[place])
    top = ranked[:count]
    yield "top", 0, top
    lowest = []
    for layer in {layer for layer, _ in top}:
        wanted = sum(there == layer for there, _ in top)
        others = [place for place in reversed(ranked) if place[0] == layer and place not in top]
        lowest += others[:wanted]
    yield "same layers", 0, lowest
    rest = ranked[count:]
    for draw in range(draws):
        picked = rng.choice(len(rest), size=min(count, len(rest)), replace=False)
        yield "random", draw, [rest[number] for number in picked]


def _silenced(
    drawer: Drawer, prompts: Sequence[Prompt], kind: HeadType, heads: list[Head]
) -> dict[str, float]:
    tokens = tokens_of_site(kind.site, drawer.study, drawer.vocabulary.begin)
    with silenced_heads(drawer.model, heads, tokens):
        return _measured(drawer, prompts)


def _measured(drawer: Drawer, prompts: Sequence[Prompt]) -> dict[str, float]:
    """Share of prompts whose most probable next token is the answer, and its mean probability."""
    logits = drawer.model.next_token_logits([drawer.ids(prompt) for prompt in prompts])
    answers = [drawer.vocabulary.ids[prompt.answer] for prompt in prompts]
    right = [int(top) == answer for top, answer in zip(logits.argmax(1), answers, strict=True)]
    share = logits.double().softmax(1)[range(len(answers)), answers]
    return {"accuracy": float(np.mean(right)), "probability": float(share.mean())}
